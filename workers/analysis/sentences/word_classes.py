"""English words of small, closed classes, whose names say more than a list of them.

A word belongs to the class that it is most often of. Text in other languages has none.
"""

from __future__ import annotations

from typing import Final

# The name in the plural, and its words.
_CLASSES: Final = {
    "articles": "a an the",
    "prepositions": (
        "of in to for with on at from by about into through after over between against during "
        "without before under around among upon within toward towards across behind beyond near "
        "off above below beside besides along until till throughout onto via per despite except "
        "unto amid beneath inside outside"
    ),
    "pronouns": (
        "i me he him she her it we us they them you thou thee ye himself herself itself themselves "
        "myself yourself ourselves yourselves thyself someone somebody something anyone anybody "
        "anything everyone everybody everything nobody nothing none"
    ),
    "possessives": "my your his its our their thy thine mine yours hers ours theirs whose",
    "demonstratives": "this that these those",
    "conjunctions": "and or but nor yet so if because although though while unless whereas",
    "forms of the verb be": "be is are was were am been being isn't aren't wasn't weren't it's",
    "forms of the verb have": "have has had having hath haven't hasn't hadn't",
    "forms of the verb do": "do does did doing done doth don't doesn't didn't",
    "modal verbs": (
        "will would shall should can could may might must cannot can't couldn't won't wouldn't "
        "shouldn't shalt wilt"
    ),
    "question words": "who whom what which when where why how whoever whatever whichever wherever",
    "quantity words": (
        "all any some each every both either neither many much more most few fewer less least "
        "several another other others such enough half"
    ),
    "negations": "not no never n't",
    "number words": (
        "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen "
        "sixteen seventeen eighteen nineteen twenty thirty forty fifty sixty seventy eighty ninety "
        "hundred hundreds thousand thousands million millions billion billions dozen"
    ),
    "ordinal words": (
        "first second third fourth fifth sixth seventh eighth ninth tenth last twentieth hundredth"
    ),
    "months": ("january february march april june july august september october november december"),
    "days of the week": "monday tuesday wednesday thursday friday saturday sunday",
}
CLASS_OF: Final = {word: name for name, words in _CLASSES.items() for word in words.split()}

# What several of these are together.
_WIDER: Final = {
    "articles": "determiners",
    "possessives": "determiners",
    "demonstratives": "determiners",
    "quantity words": "determiners",
    "forms of the verb be": "auxiliary verbs",
    "forms of the verb have": "auxiliary verbs",
    "forms of the verb do": "auxiliary verbs",
    "modal verbs": "auxiliary verbs",
}
WIDER_CLASS_OF: Final = {word: _WIDER[c] for word, c in CLASS_OF.items() if c in _WIDER}

_CONTENT: Final = ("number words", "ordinal words", "months", "days of the week")
FUNCTION_WORDS: Final = frozenset(
    word for word, name in CLASS_OF.items() if name not in _CONTENT
) | frozenset(["as", "than", "then", "there"])
# That stand in nearly every text, whatever it is about.
_ADVERBS: Final = "also here just only very too out up down back away now one two other"
EVERYWHERE: Final = FUNCTION_WORDS | frozenset(_ADVERBS.split())
