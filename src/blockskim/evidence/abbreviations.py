"""Words that tell whether a full stop ends a sentence, of European languages, in lower case."""


def _words(lines: str) -> frozenset[str]:
    return frozenset(lines.split())


TITLES = _words("""
    mr mrs ms dr prof rev hon st ste gen col lt sgt capt cmdr adm maj gov sen rep pres messrs mme mlle sr sra srta dña
    hr fr frl mt ft no nos nr fig figs eq eqs vol vols ch sec art pp ca cf vs approx op bzw ggf vgl bspw inkl zzgl str
    abs tel núm pág bd jan feb mar apr jun jul aug sep sept oct nov dec
""")
"""Abbreviations before a name or number: no sentence ends there."""

ABBREVIATIONS = _words("""
    etc al inc ltd co corp jr bros dept est ed eds usw univ assn ave blvd rd
""")
"""Others: a sentence may end there or not."""

STARTERS = _words("""
    the a an he she it they we you i in on at this that these those but however and or after before when while if as his
    her its their there what who where why how for from with by to although since some many most der die das er sie es
    wir ich im am ein eine le la les il elle un une el los las
""")
"""Words that begin most of the sentences that follow an abbreviation."""
