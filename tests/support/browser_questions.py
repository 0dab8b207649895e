"""Questions over texts of our own, for implementations that must agree: hard Unicode, and a text of several windows."""

from pathlib import Path

FERRY = (
    "The ferry to Holm leaves Norvik harbour at a quarter past seven every morning except Sunday. In winter, when the "
    "sound freezes, the crew tows passengers across the ice on a sledge that the harbour master, Ingrid Solberg, had "
    "built in 1961. The crossing takes forty minutes by boat and a little over two hours by sledge. Whoever misses the "
    "ferry can wait in the old customs house, where the baker keeps a stove going and sells cardamom buns."
)

# Outside of the Basic Multilingual Plane, joined, combining (é and ñ in two characters each), without spaces.
EMOJI = (
    "🎪🎪🎪 The travelling circus of Zoe\u0301 Ibán\u0303ez came to Çeşme on 3\u00a0May 2019. 👩‍🚀👨‍👩‍👧‍👦 Its star "
    "was 𝒢ustav, a juggling robot 🤖 that the engineer Renée Åkerström (レネ) had put together from old sewing "
    "machines in 東京. Tickets cost 12€ 🎟️; children under 6️⃣ got in free. 🇹🇷 On the last evening a storm 🌩️ carried the "
    "tent away, and fishermen found it two days later near the island of Chi\u0302os 🐟."
)

BRIDGE = (
    "Work on the Talbrück viaduct began in March 1874 under the engineer Johanna Weiss, the first woman to lead such a "
    "project in the canton. Eleven arches of yellow sandstone carry the railway 64 metres above the river. The stone "
    "came from a quarry near Lenz, and oxen brought it down the valley. Fourteen workers lost their lives when "
    "scaffolding under the seventh arch gave way in the autumn of 1876. The first train crossed on 9 June 1878. Since "
    "a restoration in 2003 a footpath runs beneath the tracks, from which falcons can be watched in spring."
)

RECIPE = (
    "For the dough, knead 500 g of rye flour with 350 ml of lukewarm water and two spoons of honey.\r\n"
    "\tLet it rest for nine hours in the cellar.\r\n"
    "Then work in the salt, shape a loaf and bake it at 230 °C for fifty minutes.\r\n"
    "The crust gets its shine from strong coffee, brushed on while it is hot."
)

LONG = "\n\n".join(
    [FERRY, EMOJI, (Path(__file__).parents[2] / "examples" / "demo.txt").read_text(encoding="utf-8"), RECIPE, BRIDGE]
)

QUESTIONS = (
    ("Who had the sledge built?", FERRY),
    ("When does the ferry leave?", FERRY),
    ("How long does the crossing take by sledge?", FERRY),
    ("What does the baker sell?", FERRY),
    ("Who put the robot together?", EMOJI),
    ("What was the robot made from?", EMOJI),
    ("How much did tickets cost?", EMOJI),
    ("Whose circus came to Çeşme?", EMOJI),
    ("Where did fishermen find the tent? 🐟", EMOJI),
    ("Who led the work on the viaduct?", BRIDGE),
    ("How many workers died?", BRIDGE),
    ("When did the first train cross?", BRIDGE),
    ("What can be watched from the footpath?", BRIDGE),
    ("How long does the dough rest?", RECIPE),
    ("What makes the crust shine?", RECIPE),
    ("Who built the third Eddystone lighthouse?", LONG),
    ("How many sea otters were left when the hunt ended?", LONG),
    ("Where did the stone of the viaduct come from?", LONG),
    ("How hot must the oven be?", LONG),
    ("What is the capital of Mongolia?", LONG),
)
