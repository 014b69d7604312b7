/*
 * mobynit: mounts the filesystem of a bare container without the engine, so that a host boots from
 * an image.
 *
 *   mobynit -sysroot DIR   mounts the container that DIR/current names; prints where
 *   mobynit                as process 1: does so with its root filesystem (or /sysroot, where an
 *                          initramfs has mounted it), moves the mounts that are there, makes the
 *                          container the root, the old root its /mnt/sysroot/active, and becomes
 *                          the container's /sbin/init
 *
 * DIR/current is a symlink whose last part is the container's ID. The engine's data root is the
 * first of DATA_ROOTS below DIR that has this container. Beside the container lies its mount recipe
 * (containers/ID/mount), written by the engine; src/formats/mount-recipe.ts has the format.
 *
 * No allocation, libc only, linked statically: there is nothing else in an initramfs.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

enum {
  RECIPE_BYTES_MAX = 64 << 10,
  PARAMETERS_MAX = 1024,
  MOUNTS_MAX = 256,
  MOUNTINFO_BYTES_MAX = 128 << 10,
  MOUNT_DATA_BYTES_MAX = 4095, /* what mount(2) reads of its data */
};

/* The new mount API and openat2: the same numbers on all architectures; headers may lack them. */
enum {
  NR_MOVE_MOUNT = 429,
  NR_FSOPEN = 430,
  NR_FSCONFIG = 431,
  NR_FSMOUNT = 432,
  NR_OPENAT2 = 437,
  FSCONFIG_STRING = 1,
  FSCONFIG_CREATE = 6,
  FSOPEN_CLOSE_ON_EXEC = 1,
  MOVE_FROM_EMPTY_PATH = 4,
  RESOLVE_WITHIN_ROOT = 0x10,
};
struct how {
  uint64_t flags, mode, resolve;
};

static const char *const DATA_ROOTS[] = {"docker", "coracle", "balena", "var/lib/coracle"};
static const char PIVOT_PATH[] = "mnt/sysroot/active";
static const char INIT[] = "/sbin/init";

__attribute__((noreturn, format(printf, 1, 2))) static void fail(const char *format, ...) {
  va_list arguments;
  dprintf(STDERR_FILENO, "mobynit: ");
  va_start(arguments, format);
  vdprintf(STDERR_FILENO, format, arguments);
  va_end(arguments);
  dprintf(STDERR_FILENO, "\n");
  exit(1);
}

/* --- the recipe ------------------------------------------------------------------------------- */

struct parameter {
  const char *key, *value;
};

/* Points into `text`, which holds the whole file with its lines cut to strings. */
struct recipe {
  char text[RECIPE_BYTES_MAX + 1];
  const char *type, *target;
  struct parameter parameters[PARAMETERS_MAX];
  size_t count;
};

/* Relative, and without a part that leads out or a character that mount data would need escaped. */
static bool is_value(const char *text) {
  static const char allowed[] =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-/";
  if (*text == '\0' || *text == '/' || text[strspn(text, allowed)] != '\0') return false;
  for (const char *part = text; part != NULL; part = strchr(part, '/')) {
    if (*part == '/') part++;
    if (strncmp(part, "..", 2) == 0 && (part[2] == '/' || part[2] == '\0')) return false;
  }
  return true;
}

static bool is_key(const char *key) {
  static const char *const keys[] = {"target", "source",   "lowerdir+", "datadir+",
                                     "upperdir", "workdir", "index",     "metacopy"};
  for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
    if (strcmp(key, keys[i]) == 0) return true;
  }
  return false;
}

/* Cuts the text into lines and checks each. Returns what is wrong, or NULL. */
static const char *parse_recipe(struct recipe *recipe, size_t length) {
  static const char head[] = "coracle-mount 1 ";
  char *text = recipe->text;
  if (memchr(text, '\0', length) != NULL) return "it holds a NUL";
  text[length] = '\0';
  if (strncmp(text, head, strlen(head)) != 0) return "it is of no version that is known here";
  char *line = text + strlen(head);
  recipe->type = line;
  char *end = strchr(line, '\n');
  if (end == NULL) return "it is cut short";
  *end = '\0';
  if (strcmp(line, "overlay") != 0 && strcmp(line, "bind") != 0) {
    return "its type is not known here";
  }
  recipe->target = NULL;
  recipe->count = 0;
  for (;;) {
    line = end + 1;
    end = strchr(line, '\n');
    if (end == NULL) return "it is cut short";
    *end = '\0';
    if (strcmp(line, "end") == 0) break;
    char *value = strchr(line, '=');
    if (value == NULL) return "it has a line without a value";
    *value++ = '\0';
    if (!is_key(line)) return "it has a parameter that is not known here";
    if (!is_value(value)) return "it has a value that leads out of the data root";
    if (strcmp(line, "target") == 0) {
      recipe->target = value;
      continue;
    }
    if (recipe->count == PARAMETERS_MAX) return "it has too many parameters";
    recipe->parameters[recipe->count++] = (struct parameter){line, value};
  }
  if (end[1] != '\0') return "something follows its end";
  if (recipe->target == NULL) return "it does not say where to mount";
  return NULL;
}

static void read_recipe(struct recipe *recipe, const char *id) {
  char path[PATH_MAX];
  snprintf(path, sizeof path, "containers/%s/mount", id);
  int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
  if (fd < 0) fail("cannot open the mount recipe of %s: %s", id, strerror(errno));
  size_t length = 0;
  for (;;) {
    ssize_t n = read(fd, recipe->text + length, RECIPE_BYTES_MAX + 1 - length);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) fail("cannot read the mount recipe of %s: %s", id, strerror(errno));
    if (n == 0) break;
    length += (size_t)n;
    if (length > RECIPE_BYTES_MAX) fail("the mount recipe of %s is too long", id);
  }
  close(fd);
  const char *problem = parse_recipe(recipe, length);
  if (problem != NULL) fail("the mount recipe of %s is damaged: %s", id, problem);
}

/* --- mounting it; the working directory is the data root -------------------------------------- */

static const char *find(const struct recipe *recipe, const char *key) {
  for (size_t i = 0; i < recipe->count; i++) {
    if (strcmp(recipe->parameters[i].key, key) == 0) return recipe->parameters[i].value;
  }
  return NULL;
}

/* The way of Linux 6.5 and later. False, with errno, when it does not lead there. */
static bool mount_by_fsopen(const struct recipe *recipe) {
  int fs = (int)syscall(NR_FSOPEN, "overlay", FSOPEN_CLOSE_ON_EXEC);
  if (fs < 0) return false;
  bool done = true;
  for (size_t i = 0; done && i < recipe->count; i++) {
    const struct parameter *each = &recipe->parameters[i];
    done = syscall(NR_FSCONFIG, fs, FSCONFIG_STRING, each->key, each->value, 0L) == 0;
  }
  done = done && syscall(NR_FSCONFIG, fs, FSCONFIG_CREATE, NULL, NULL, 0L) == 0;
  if (done) {
    int mount = (int)syscall(NR_FSMOUNT, fs, FSOPEN_CLOSE_ON_EXEC, 0UL);
    done = mount >= 0 && syscall(NR_MOVE_MOUNT, mount, "", AT_FDCWD, recipe->target,
                                 (unsigned long)MOVE_FROM_EMPTY_PATH) == 0;
  }
  int error = errno;
  close(fs);
  errno = error;
  return done;
}

static void append(char *data, const char *separator, const char *text) {
  size_t length = strlen(data);
  size_t room = MOUNT_DATA_BYTES_MAX + 1 - length;
  if ((size_t)snprintf(data + length, room, "%s%s", separator, text) >= room) {
    fail("the layers do not fit the kernel's mount data");
  }
}

static void append_all(char *data, const struct recipe *recipe, const char *key,
                       const char *first, const char *next) {
  for (size_t i = 0; i < recipe->count; i++) {
    if (strcmp(recipe->parameters[i].key, key) != 0) continue;
    append(data, first, recipe->parameters[i].value);
    first = next;
  }
}

/* The way of all kernels. */
static void mount_by_data(const struct recipe *recipe) {
  static char data[MOUNT_DATA_BYTES_MAX + 1];
  append_all(data, recipe, "lowerdir+", "lowerdir=", ":");
  append_all(data, recipe, "datadir+", "::", "::");
  append_all(data, recipe, "upperdir", ",upperdir=", ",");
  append_all(data, recipe, "workdir", ",workdir=", ",");
  append_all(data, recipe, "index", ",index=", ",");
  append_all(data, recipe, "metacopy", ",metacopy=", ",");
  if (mount("overlay", recipe->target, "overlay", 0, data) != 0) {
    fail("cannot mount the overlay: %s", strerror(errno));
  }
}

static bool is_mount_point(const char *path) {
  char above[PATH_MAX];
  struct stat inside, outside;
  snprintf(above, sizeof above, "%s/..", path);
  return stat(path, &inside) == 0 && stat(above, &outside) == 0 &&
         inside.st_dev != outside.st_dev;
}

/* Layers whose names are an image (src/store/layers/layer-images.ts) are mounted where they are used. */
static void mount_images(const struct recipe *recipe, bool mounted[PARAMETERS_MAX]) {
  static const char diff[] = "/diff", image[] = "/tree.erofs";
  for (size_t i = 0; i < recipe->count; i++) {
    const char *layer = recipe->parameters[i].value;
    size_t length = strlen(layer);
    char path[PATH_MAX];
    mounted[i] = false;
    if (strcmp(recipe->parameters[i].key, "lowerdir+") != 0 || length < strlen(diff)) continue;
    size_t folder = length - strlen(diff);
    if (strcmp(layer + folder, diff) != 0) continue;
    snprintf(path, sizeof path, "%.*s%s", (int)folder, layer, image);
    if (access(path, F_OK) != 0 || is_mount_point(layer)) continue;
    if (mount(path, layer, "erofs", MS_RDONLY, NULL) != 0) {
      fail("cannot mount the image %s: %s", path, strerror(errno));
    }
    mounted[i] = true;
  }
}

static void mount_overlay(const struct recipe *recipe) {
  static bool mounted[PARAMETERS_MAX];
  mount_images(recipe, mounted);
  if (!mount_by_fsopen(recipe)) mount_by_data(recipe);
  /* The overlay has them now; left there they would keep the partition busy. */
  for (size_t i = 0; i < recipe->count; i++) {
    if (mounted[i]) umount2(recipe->parameters[i].value, MNT_DETACH);
  }
}

static void mount_recipe(const struct recipe *recipe) {
  if (mkdir(recipe->target, 0755) != 0 && errno != EEXIST) {
    fail("cannot make %s: %s", recipe->target, strerror(errno));
  }
  if (is_mount_point(recipe->target)) return;
  if (strcmp(recipe->type, "overlay") == 0) {
    mount_overlay(recipe);
    return;
  }
  const char *source = find(recipe, "source");
  if (source == NULL) fail("the mount recipe is damaged: it has no source");
  if (mount(source, recipe->target, NULL, MS_BIND, NULL) != 0) {
    fail("cannot bind %s: %s", source, strerror(errno));
  }
}

/* --- finding the container ------------------------------------------------------------- */

/* The last part of the symlink `current`, which is the container's ID. */
static void read_current(const char *sysroot, char *id, size_t room) {
  char link[PATH_MAX], target[PATH_MAX];
  snprintf(link, sizeof link, "%s/current", sysroot);
  ssize_t length = readlink(link, target, sizeof target - 1);
  if (length < 0) fail("cannot read the symlink %s: %s", link, strerror(errno));
  while (length > 1 && target[length - 1] == '/') length--;
  target[length] = '\0';
  const char *slash = strrchr(target, '/');
  const char *name = slash == NULL ? target : slash + 1;
  if (!is_value(name) || strlen(name) >= room) fail("%s does not end with a container's ID", link);
  strcpy(id, name);
}

/* Mounts the container that `sysroot` boots from; `path` gets where, absolute. */
static void mount_current(const char *sysroot, char path[PATH_MAX]) {
  static struct recipe recipe;
  char id[NAME_MAX + 1], recipe_path[PATH_MAX];
  read_current(sysroot, id, sizeof id);
  for (size_t i = 0; i < sizeof DATA_ROOTS / sizeof DATA_ROOTS[0]; i++) {
    snprintf(recipe_path, sizeof recipe_path, "%s/%s/containers/%s/mount", sysroot, DATA_ROOTS[i],
             id);
    if (access(recipe_path, F_OK) != 0) continue;
    *strstr(recipe_path, "/containers/") = '\0';
    if (chdir(recipe_path) != 0) fail("cannot enter %s: %s", recipe_path, strerror(errno));
    read_recipe(&recipe, id);
    mount_recipe(&recipe);
    if (realpath(recipe.target, path) == NULL) {
      fail("cannot find %s: %s", recipe.target, strerror(errno));
    }
    return;
  }
  fail("%s has no data root with a mount recipe of the container %s", sysroot, id);
}

/* --- becoming the host's init ------------------------------------------------------------- */

static void make_folders(const char *path) {
  char part[PATH_MAX];
  snprintf(part, sizeof part, "%s", path);
  for (char *slash = strchr(part, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
    *slash = '\0';
    mkdir(part, 0755);
    *slash = '/';
  }
  mkdir(part, 0755); /* what cannot be made shows when it is opened */
}

/* A folder below the working directory; symlinks of the image do not lead out of it. */
static int open_inside(const char *path) {
  int root = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
  struct how how = {O_PATH | O_DIRECTORY | O_CLOEXEC, 0, RESOLVE_WITHIN_ROOT};
  int fd = (int)syscall(NR_OPENAT2, root, path, &how, sizeof how);
  if (fd < 0 && errno == ENOSYS) {
    fd = openat(root, path, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  }
  int error = errno;
  close(root);
  errno = error;
  return fd;
}

/* Moves a mount into the new root, which is the working directory before and after. */
static bool move_inside(const char *from, const char *to, const char *root) {
  make_folders(to);
  int fd = open_inside(to);
  if (fd < 0) return false;
  bool moved = fchdir(fd) == 0 && mount(from, ".", NULL, MS_MOVE, NULL) == 0;
  int error = errno;
  close(fd);
  if (chdir(root) != 0) fail("cannot enter %s: %s", root, strerror(errno));
  errno = error;
  return moved;
}

static bool is_below(const char *path, const char *folder) {
  size_t length = strlen(folder);
  return strncmp(path, folder, length) == 0 && (path[length] == '/' || path[length] == '\0');
}

/* mountinfo writes blanks and the like as \040. */
static void unescape(char *text) {
  char *to = text;
  for (const char *from = text; *from != '\0'; to++) {
    if (from[0] == '\\' && strspn(from + 1, "01234567") >= 3) {
      *to = (char)((from[1] - '0') << 6 | (from[2] - '0') << 3 | (from[3] - '0'));
      from += 4;
    } else {
      *to = *from++;
    }
  }
  *to = '\0';
}

/* The mount points of this namespace that no other but `/` is above. Points into static text. */
static size_t read_mounts(const char *mounts[MOUNTS_MAX]) {
  static char text[MOUNTINFO_BYTES_MAX + 1];
  int fd = open("/proc/self/mountinfo", O_RDONLY | O_CLOEXEC);
  if (fd < 0) {
    mkdir("/proc", 0555);
    if (mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) != 0) {
      fail("cannot mount /proc: %s", strerror(errno));
    }
    fd = open("/proc/self/mountinfo", O_RDONLY | O_CLOEXEC);
  }
  size_t length = 0;
  ssize_t n = 0;
  while (length < MOUNTINFO_BYTES_MAX &&
         (n = read(fd, text + length, MOUNTINFO_BYTES_MAX - length)) > 0) {
    length += (size_t)n;
  }
  if (fd < 0 || n < 0) fail("cannot read /proc/self/mountinfo: %s", strerror(errno));
  close(fd);
  size_t count = 0;
  char *rest = text, *line;
  while ((line = strsep(&rest, "\n")) != NULL && count < MOUNTS_MAX) {
    char *word = NULL; /* ID, parent, device, root, mount point */
    for (int i = 0; i < 5; i++) word = strsep(&line, " ");
    if (word == NULL || word[0] != '/' || word[1] == '\0') continue;
    unescape(word);
    bool isOuter = true;
    for (size_t i = 0; i < count; i++) isOuter = isOuter && !is_below(word, mounts[i]);
    if (isOuter) mounts[count++] = word;
  }
  return count;
}

/* An initramfs cannot be pivoted away: the new root is moved over it. */
static void move_over_root(void) {
  if (mount(".", "/", NULL, MS_MOVE, NULL) != 0 || chroot(".") != 0) {
    fail("cannot make the container the root: %s", strerror(errno));
  }
}

/* Takes the container to `/newroot`, so that the filesystem that it lies on can be moved. */
static void move_out(char root[PATH_MAX]) {
  static const char outside[] = "/newroot";
  mkdir(outside, 0755);
  if (mount(root, outside, NULL, MS_MOVE, NULL) != 0) {
    fail("cannot move %s to %s: %s", root, outside, strerror(errno));
  }
  strcpy(root, outside);
}

static void remount_writable(const char *path) {
  struct statvfs state;
  if (statvfs(path, &state) == 0 && (state.f_flag & ST_RDONLY) == 0) return;
  if (mount(NULL, path, NULL, MS_REMOUNT, NULL) != 0) {
    fail("cannot remount %s for writing: %s", path, strerror(errno));
  }
}

__attribute__((noreturn)) static void boot(char **argv) {
  static const char *mounts[MOUNTS_MAX];
  char root[PATH_MAX];
  struct stat link;
  const bool isSeparate = lstat("/current", &link) != 0;
  const char *sysroot = isSeparate ? "/sysroot" : "";
  size_t count = read_mounts(mounts);
  mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL); /* shared mounts cannot be moved */
  remount_writable(isSeparate ? sysroot : "/");
  mount_current(sysroot, root);
  if (isSeparate) move_out(root);
  if (chdir(root) != 0) fail("cannot enter %s: %s", root, strerror(errno));
  for (size_t i = 0; i < count; i++) {
    const char *to = isSeparate && strcmp(mounts[i], sysroot) == 0 ? PIVOT_PATH : mounts[i] + 1;
    if (!move_inside(mounts[i], to, root)) {
      dprintf(STDERR_FILENO, "mobynit: cannot move the mount %s: %s\n", mounts[i],
              strerror(errno));
    }
  }
  make_folders(PIVOT_PATH);
  if (isSeparate) {
    move_over_root();
  } else if (syscall(SYS_pivot_root, ".", PIVOT_PATH) != 0) {
    fail("cannot make the container the root: %s", strerror(errno));
  }
  if (chdir("/") != 0) fail("cannot enter the new root: %s", strerror(errno));
  argv[0] = (char *)INIT;
  execv(INIT, argv);
  fail("cannot run %s: %s", INIT, strerror(errno));
}

/* The value of `-sysroot DIR`, `-sysroot=DIR`, each also with two dashes. */
static const char *sysroot_flag(char **argv) {
  const char *flag = argv[1];
  if (flag[0] != '-') return NULL;
  flag += flag[1] == '-' ? 2 : 1;
  if (strncmp(flag, "sysroot=", 8) == 0 && argv[2] == NULL) return flag + 8;
  if (strcmp(flag, "sysroot") == 0 && argv[2] != NULL && argv[3] == NULL) return argv[2];
  return NULL;
}

int main(int argc, char **argv) {
  const char *sysroot = argc > 1 ? sysroot_flag(argv) : NULL;
  if (sysroot == NULL && getpid() == 1) boot(argv);
  if (sysroot == NULL || *sysroot == '\0') {
    dprintf(STDERR_FILENO,
            "usage: mobynit -sysroot DIR\n"
            "Mounts the container that DIR/current names, and prints where.\n"
            "As process 1, without arguments: boots from the container that /current names.\n");
    return 2;
  }
  char path[PATH_MAX];
  mount_current(sysroot, path);
  printf("%s", path);
  return fflush(stdout) == 0 ? 0 : 1;
}
