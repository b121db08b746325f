"""How much a spoken word matters for the trace drawn while it was said (paper section 3.2.2).

Importance is 1..5; the weight of a trace segment is importance / 5. The paper asks a language
model; while people speak there is no time for that, so a table of closed word classes answers:
whatever is in no class is taken for a noun, the open class that names things.
"""

import re

MAX_IMPORTANCE = 5

_FUNCTION_WORDS = """
a an the this that these those it its he she they we you i him her them us me my your his our their
is are was were be been being am do does did has have had will would can could may might must shall
should and or but nor so if because as than then there here um uh er ah oh okay ok well yes no not
just really also too which who whom whose what of to
"""
_RELATIONS = """
in on at by for with from into onto over under above below between behind beside near next through
across around along against inside outside off up down out towards toward before after during while
when where about some any all both each few many several other another very
"""
_VERBS = """
see sees seeing seen look looks looking looked show shows shown stand stands standing sit sits
sitting hold holds holding held wear wears wearing worn go goes going come comes coming make makes
made get gets put puts take takes taken having use uses using used appear appears think guess
believe seem seems know say says
"""
_ATTRIBUTES = """
red green blue yellow orange purple pink brown black white grey gray dark light bright big small
large little tiny huge long short tall wide narrow round square thick thin old new young left right
top bottom middle front back wooden metal plastic glass striped dotted plain one two three four five
six seven eight nine ten
"""
_IMPORTANCE = {
    word: importance
    for importance, words in ((4, _ATTRIBUTES), (3, _VERBS), (2, _RELATIONS), (1, _FUNCTION_WORDS))
    for word in words.split()
}
_NOT_A_LETTER = re.compile(r"[^\w']+")


def word_importance(text: str) -> int:
    """1 (function word) .. 5 (names a thing); punctuation and fillers count 1."""
    word = _NOT_A_LETTER.sub("", text.lower())
    if not word:
        return 1
    if word.endswith("ly") and len(word) > 4:
        return 2
    return _IMPORTANCE.get(word, MAX_IMPORTANCE)


def word_weight(text: str) -> float:
    """Weight of a segment spoken over by this word, 0.2..1."""
    return word_importance(text) / MAX_IMPORTANCE
