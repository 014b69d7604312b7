"""Two versions of an app's data: argument FOLDER; into FOLDER/old and FOLDER/new."""

import gzip
import json
import os
import random
import sqlite3
import sys
import zipfile

WORDS = [f"{a}{b}" for a in "ba ke li mo nu po ri sa te vi".split() for b in "dan lor mit sek tun var".split()]


def rows(changed):
    """120,000 records, of which some have changed, some are new, some are gone."""
    dice = random.Random(7)
    for i in range(120_000):
        text = " ".join(dice.choice(WORDS) for _ in range(12))
        amount = dice.randrange(10_000)
        if changed and i % 997 == 3:
            continue
        if changed and i % 500 == 0:
            amount += 1
        yield i, text, amount
        if changed and i % 800 == 0:
            yield 1_000_000 + i, "added " + text, amount


def write(folder, changed):
    at = lambda name: os.path.join(folder, name)
    records = list(rows(changed))
    db = sqlite3.connect(at("app.db"))
    db.execute("create table item (id integer primary key, text text, amount integer)")
    db.executemany("insert into item values (?, ?, ?)", rows(False))
    db.execute("create index by_text on item (text)")
    db.commit()
    if changed:
        db.executemany("insert or replace into item values (?, ?, ?)", records)
        db.execute("delete from item where id % 997 = 3 and id < 1000000")
        db.commit()
    db.close()
    objects = [{"id": i, "text": text, "amount": amount} for i, text, amount in records]
    with open(at("items.json"), "w") as out:
        json.dump(objects, out)
    with open(at("pretty.json"), "w") as out:
        json.dump(objects[:60_000], out, indent=2)
    with open(at(f"items-{'b4f1' if changed else '97ac'}.csv"), "w") as out:
        out.writelines(f"{i},{text},{amount}\n" for i, text, amount in records)
    text = "".join(f"{i} {text}\n" for i, text, _ in records[:50_000])
    with open(at("items.txt.gz"), "wb") as out:
        out.write(gzip.compress(text.encode(), 6, mtime=1_700_000_000 + changed))
    with zipfile.ZipFile(at("items.zip"), "w", zipfile.ZIP_DEFLATED) as archive:
        for part in range(0, len(records), 3000):
            name = zipfile.ZipInfo(f"part-{part}.json", (2026, 1, 1 + changed, 0, 0, 0))
            archive.writestr(name, json.dumps(objects[part : part + 3000]), zipfile.ZIP_DEFLATED)
    noise = random.Random(9).randbytes(8 << 20)
    with open(at("image.raw"), "wb") as out:
        out.write(noise[:5_000_000] + (b"patched" if changed else b"") + noise[5_000_000:])


for side in ("old", "new"):
    write(os.path.join(sys.argv[1], side), side == "new")
