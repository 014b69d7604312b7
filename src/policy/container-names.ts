/** Names for containers whose user gave none: `quiet_heron`, and with a digit when that is taken. */

const words = (text: string): readonly string[] => text.trim().split(/\s+/);

const ADJECTIVES = words(`
  able agile airy amber ample azure balmy bold brave breezy bright brisk calm candid careful chilly
  clear clever cosy crisp curious daring dapper deft dewy eager early earnest easy fair fancy fleet
  fluent fond frank fresh gentle glad golden grand happy hardy hasty honest humble icy jolly keen kind
  lasting light lively lofty loyal lucid lucky mellow merry mild misty modest neat nimble noble
  patient placid plucky polite proud quick quiet rapid ready rosy rustic serene sharp shiny silent
  silver sleek sleepy smart snug sober solid spry stable steady stout sturdy sunny swift tame tender
  tidy tough tranquil trusty upbeat vivid warm wary wild wise witty young zesty
`);

const NOUNS = words(`
  albatross alder anchovy aspen avocet badger barbet beaver beech birch bison bittern bream bunting
  buzzard cedar chaffinch clover condor coot cormorant cricket curlew cypress dipper dolphin dotterel
  dragonfly dunlin eagle egret eider elder elk falcon fern finch flounder gannet gecko goldcrest grebe
  grouse guillemot gull hare harrier hawk hazel heath heron hobby hoopoe hornbeam ibex ibis jackdaw
  jay juniper kestrel kingfisher kite kittiwake knot larch lark linnet lynx magpie maple marmot marten
  merlin mole moorhen nightjar nuthatch oak ocelot oriole osprey otter ouzel owl partridge pelican
  petrel pine pipit plover poplar ptarmigan puffin quail raven redstart robin rook rowan ruff salmon
  sandpiper shrike siskin skua snipe sorrel sparrow spruce starling stilt stoat stork swallow swan
  swift sycamore teal tern thistle thrush trout turnstone vole wagtail warbler waxwing wheatear willow
  wren yarrow yew
`);

/** A name from four random bytes. `attempt` above 0 adds a digit, so that a full house ends. */
export function generatedName(random: Uint8Array, attempt: number): string {
  const pick = (list: readonly string[], at: number): string => {
    const number = (random[at] ?? 0) * 256 + (random[at + 1] ?? 0);
    return list[number % list.length] ?? '';
  };
  return `${pick(ADJECTIVES, 0)}_${pick(NOUNS, 2)}${attempt === 0 ? '' : attempt}`;
}
