"""Families of word forms that mean one thing each: what the benchmark's units are built from.

Lists only.

A *field* holds families that are near each other. Whole fields are for development, for the test or
for a third set, so that neither a concept nor a sibling of it is seen in two of them. The third set
has fields alone, without lemmas or synonyms; a few of its words stand in the others too.
"""

from __future__ import annotations

Families = dict[str, tuple[str, ...]]

_DEVELOPMENT: dict[str, dict[str, str]] = {
    "time": {
        "months": "january february april june july august september october november december",
        "weekdays": "monday tuesday wednesday thursday friday saturday sunday weekend",
        "parts of the day": "morning evening night afternoon noon dawn midnight dusk sunset "
        "tonight nights mornings",
        "spans of time": "minutes hours days weeks months years decades hour week month year "
        "century decade minute",
        "frequency": "often always sometimes usually frequently rarely seldom occasionally "
        "constantly regularly",
    },
    "law and politics": {
        "courts": "court jury judge trial attorney lawyer lawyers plaintiff defendant testimony "
        "judges courts verdict",
        "crime": "murder crime criminal robbery theft killer thief guilty crimes prison jail "
        "arrested criminals",
        "elections": "election vote votes candidate candidates voters ballot elected voted "
        "campaign voting elections",
        "offices": "president senator governor mayor congressman secretary senators minister "
        "chairman ambassador",
        "taxes": "tax taxes taxation taxpayers revenue taxable levy taxed deductions tariff "
        "exemption assessment",
    },
    "home": {
        "kitchenware": "stove oven pan pot spoon plate plates cup bowl knife fork kettle dishes "
        "bottle pans jar",
        "food": "bread meat cheese butter sugar soup beef chicken salad eggs potatoes sauce rice "
        "cake fruit pie",
        "drinks": "coffee tea wine beer whiskey milk brandy liquor champagne drinks rum martini "
        "juice gin",
        "clothing": "dress shirt coat hat shoes jacket trousers pants suit skirt gloves boots "
        "clothes uniform sweater",
        "furniture": "chair table bed desk sofa couch bench shelf mattress chairs tables lamp "
        "rug furniture drawer",
        "meals": "breakfast lunch dinner supper meal meals luncheon picnic feast banquet dinners "
        "dessert",
    },
    "body": {
        "face": "face nose mouth lips cheeks chin forehead eyebrows teeth tongue eyes cheek ears "
        "jaw",
        "limbs": "arms legs hands fingers knees feet elbow wrist shoulder shoulders ankle thigh "
        "leg knee arm finger",
        "illness": "disease cancer fever pain infection illness symptoms headache sickness "
        "diseases ill tumor injury",
        "medicine": "doctor doctors physician patient patients hospital nurse surgeon surgery "
        "clinic physicians",
    },
    "weather and sky": {
        "weather": "rain snow storm wind fog clouds thunder winds rainy hurricane mist blizzard "
        "frost drizzle sleet",
        "heavenly bodies": "sun moon stars planet planets sky comet galaxy earth meteor orbit "
        "venus jupiter mars",
        "heat and cold": "heat cold hot warm cool temperature temperatures frozen heated chill "
        "freezing warmth",
    },
    "grammar": {
        "negation": "not never nothing nobody none neither nor don't didn't cannot couldn't "
        "wasn't isn't",
        "modal verbs": "can could would should might must shall ought may will",
        "third persons": "he she him her his they them himself herself themselves their hers "
        "theirs",
        "first persons": "i we me us my our myself ourselves mine ours i'm we're i'll i'd",
    },
    "transport": {
        "cars": "car truck bus automobile taxi cars trucks wagon jeep driver motor cab vehicle "
        "vehicles buses",
        "roads": "street road highway avenue lane boulevard bridge streets roads highways "
        "turnpike sidewalk",
        "aviation": "plane pilot airport flight aircraft airplane jet planes pilots airline "
        "flying flights airlines",
        "railways": "train railroad trains station railway rail locomotive railroads freight "
        "tracks depot conductor",
    },
    "animals": {
        "farm animals": "horse horses cow cattle sheep pig hogs goat mule cows lambs pony calves "
        "stallion mare",
        "wild animals": "wolf bear lion tiger fox deer elephant monkey rabbit snake bears wolves "
        "rats mice",
        "birds": "bird birds eagle hawk hen duck ducks geese pigeons owl robin swan feathers wings",
        "dogs and cats": "dog dogs cat cats puppy kitten hound hounds kittens pups spaniel "
        "terrier paws",
    },
    "doing": {
        "walking": "walked ran climbed crawled hurried marched strolled wandered walking running "
        "crossed rushed",
        "saying": "said asked replied answered shouted whispered told exclaimed muttered cried "
        "murmured remarked",
        "thinking": "thought believed knew wondered realized supposed guessed understood "
        "imagined assumed thinking",
        "building": "built constructed erected building builders construction builder "
        "constructing build builds",
    },
    "feeling": {
        "anger and fear": "anger fear hatred rage terror angry afraid fury panic horror "
        "frightened scared dread",
        "joy": "joy happy happiness pleasure delight glad cheerful delighted pleased merry "
        "laughter gaiety",
        "sorrow": "sad grief sorrow tears misery lonely despair melancholy sadness weeping "
        "loneliness mourning",
    },
    "games": {
        "baseball": "pitcher inning baseball homer yankees runs catcher outfielder innings "
        "batting pitching league",
        "contests": "team game games player players coach champion championship football "
        "tournament teams golf victory",
        "gambling": "poker cards bet dice gamble gambling bets gambler casino stakes lottery wager",
    },
}

_TEST: dict[str, dict[str, str]] = {
    "people": {
        "kinship": "mother father brother sister son daughter uncle aunt wife husband parents "
        "cousin mothers",
        "ages": "boy girl baby child children boys girls infant youngsters teenagers babies "
        "adults kids lad",
        "titles": "mr. mrs. miss dr. madame sir lord lady king queen prince princess duke",
        "given names": "john william robert charles james thomas richard joseph henry george "
        "david mary arthur",
    },
    "money and trade": {
        "money": "dollars dollar cents money cash coins pennies dimes currency francs pounds cent",
        "firms": "company corporation firm firms companies corporations enterprise enterprises "
        "inc. co. industries",
        "prices": "price prices cost costs fee fees wages salary income payments salaries rents "
        "wage",
        "selling": "sold sell bought purchase buy sales sale selling buying purchased purchases "
        "retail",
        "banking": "bank banks loan loans bonds credit mortgage stock shares investors banker "
        "bankers deposits",
    },
    "arts": {
        "music": "music orchestra symphony jazz concert piano violin song songs melody musical "
        "trumpet opera tune",
        "theatre": "stage theater drama actor actress actors scene audience comedy play broadway "
        "plays performance",
        "writing": "novel poem poet novels poems poetry writer fiction poets author prose "
        "writers stories",
        "painting": "painting paintings artist artists painter canvas portrait sculpture museum "
        "painters drawings",
        "newspapers": "newspaper newspapers editor magazine magazines editors reporter editorial "
        "press journalist",
    },
    "religion": {
        "church": "church bishop priest pope chapel pastor churches cathedral priests altar "
        "congregation clergy parish",
        "belief": "god christ jesus faith heaven divine sin salvation prayer soul gospel bible "
        "lord holy",
        "peoples of faith": "catholic protestant jewish christian catholics protestants jews "
        "baptist methodist",
    },
    "war": {
        "soldiers": "soldier soldiers captain colonel sergeant troops lieutenant army corporal "
        "infantry officers",
        "weapons": "gun rifle pistol guns weapons bullets revolver bombs missiles rifles bullet "
        "bomb sword knife",
        "fighting": "war battle fight fighting battles combat invasion attack enemy attacks "
        "conflict fought wars",
    },
    "sea": {
        "ships": "ship ships boat boats vessel vessels sail sailing deck yacht crew schooner "
        "submarine harbor",
        "waters": "river lake sea ocean bay creek pond stream rivers lakes pool gulf swamp",
        "fishing": "fish fishing fishermen trout bass tuna catch salmon hook bait fisherman net "
        "oysters",
        "shores": "beach coast shore island islands sand harbor cliffs coastal dunes beaches "
        "coasts",
    },
    "land": {
        "heights": "mountain mountains hill hills valley ridge canyon cliff slope peak valleys "
        "slopes plateau",
        "plants": "tree trees flowers grass leaves roses oak pine bushes roots flower weeds "
        "branches",
        "farming": "farm farmer farmers crops farms wheat corn cotton harvest agricultural plow "
        "crop barn",
    },
    "numbers": {
        "cardinals": "two three four five six seven eight nine ten twelve twenty thirty fifty",
        "ordinals": "first second third fourth fifth sixth seventh eighth ninth tenth",
        "fractions and shares": "half percent quarter percentage thirds fraction portion "
        "proportion fourths share",
        "large numbers": "hundred thousand million billion hundreds thousands millions dozen "
        "dozens billions",
    },
    "looks": {
        "colours": "red blue green yellow white black brown gray pink purple orange golden",
        "sizes": "big large small huge little tiny enormous giant vast tall larger smaller",
        "materials": "wood steel iron glass brass copper plastic aluminum leather concrete "
        "marble stone rubber",
        "shapes": "round square circle circular triangle curved rectangular oval flat circles "
        "spherical straight",
    },
    "science": {
        "mathematics": "equation theorem polynomial algebra integer equations function vector "
        "matrix geometry linear",
        "chemistry": "acid oxygen hydrogen chemical nitrogen molecules sodium chlorine compounds "
        "polymer carbon atoms",
        "physics": "radiation electron electrons nuclear particles energy magnetic velocity "
        "voltage thermal neutrons",
        "biology": "cells cell tissue protein bacteria species organism embryo antibody serum "
        "enzyme genes",
    },
    "learning": {
        "schools": "school college university schools colleges campus classroom universities "
        "kindergarten academy",
        "teaching": "teacher teachers professor students student pupils teaching taught pupil "
        "faculty instructor",
        "research": "research experiment experiments study studies laboratory investigation "
        "analysis survey",
    },
    "places": {
        "countries": "france germany russia england china japan italy spain india canada cuba "
        "laos mexico",
        "states": "california texas ohio virginia georgia pennsylvania florida illinois "
        "massachusetts maryland",
        "cities": "chicago boston london paris dallas philadelphia moscow rome berlin atlanta "
        "detroit baltimore",
        "peoples": "french german russian english chinese american italian british soviet "
        "spanish japanese indian",
    },
    "function words": {
        "places of things": "above below behind beneath under beside inside outside near between "
        "across around",
        "conjunctions": "although because unless while since though whereas whether if until",
        "quantities": "many few several some most all both each every any much enough",
        "manner": "quickly slowly carefully suddenly quietly gently softly rapidly easily sharply",
    },
    "house": {
        "parts of a house": "door window wall floor roof ceiling windows walls doors stairs "
        "porch hallway",
        "rooms": "room bedroom kitchen hall bathroom parlor rooms attic basement cellar lobby "
        "corridor",
        "dwellings": "house apartment hotel houses cottage apartments cabin motel mansion homes "
        "villa tent",
    },
    "senses": {
        "seeing": "saw looked watched stared glanced noticed observed gazed seen looking "
        "watching peered",
        "hearing": "heard sound noise voice sounds listened voices loud hear listening noises "
        "silence",
        "giving": "gave given giving gives offered handed donated contributed presented granted",
    },
}

_THIRD: dict[str, dict[str, str]] = {
    "communication": {
        "letters": "letter letters telegram mail postcard envelope cable note message messages",
        "broadcasting": "radio television broadcast broadcasting tv station channel announcer "
        "program programs",
        "telephones": "telephone phone telephoned calls call dial switchboard operator",
    },
    "politics": {
        "ideologies": "communist communism democratic liberal liberals conservative conservatives "
        "republican republicans democrats socialist communists",
        "diplomacy": "treaty negotiations negotiate diplomatic alliance agreement pact conference "
        "allies disarmament embassy",
        "assemblies": "congress senate legislature parliament committee assembly commission "
        "council subcommittee house",
    },
    "bodily": {
        "eating": "eat ate eating eaten drank drink drinking swallowed chewed tasted hungry",
        "sleeping": "sleep asleep slept sleeping awake bed dream dreams woke tired nap",
        "dying": "death dead died die dying killed deaths funeral buried grave fatal",
    },
    "change": {
        "rising": "rose increased grew increase increasing gained growing expanded growth rising "
        "raised",
        "falling": "fell declined decreased decline reduced dropped reduction falling shrank "
        "decrease lower",
        "stopping": "stopped ended ceased quit stop stopping halt finished halted ending",
    },
    "household stuff": {
        "containers": "box boxes bag basket barrel trunk bucket drawer crate package bags can tray",
        "fabrics": "cotton silk wool cloth fabric fabrics linen velvet textile lace yarn nylon",
        "tools": "hammer nails saw ax shovel drill tool tools screws brush wrench rope",
    },
    "judging": {
        "goodness": "good great excellent fine wonderful splendid perfect superb magnificent best",
        "badness": "bad poor terrible awful wrong evil worse worst horrible miserable",
        "certainty": "certain sure definite obvious clear evident certainly surely obviously "
        "clearly definitely",
    },
    "energy": {
        "fuels": "oil gas coal fuel gasoline petroleum diesel kerosene",
        "electricity": "electric electrical electronic power wire battery circuit current "
        "electricity voltage",
        "light": "light lights bright dark lamp lamps shadow shadows darkness shining glow "
        "gleaming",
    },
    "small words": {
        "degree": "very quite rather extremely fairly too so highly completely almost nearly",
        "demonstratives": "this that these those such",
        "time relations": "before after during until then when later earlier soon ago",
    },
}

_LEMMAS = {
    "development": (
        "walk walks walked walking;look looks looked looking;call calls called calling;play "
        "plays played playing;"
        "write writes wrote written writing;make makes made making;begin begins began begun "
        "beginning;"
        "find finds found finding;keep keeps kept keeping;lose loses lost losing;problem problems;"
        "friend friends;strong stronger strongest strength strongly;carry carries carried carrying;"
        "turn turns turned turning;produce produces produced producing production;report reports "
        "reported reporting;"
        "decide decides decided deciding decision;move moves moved moving movement;plan plans "
        "planned planning"
    ),
    "test": (
        "speak speaks spoke spoken speaking;grow grows grew grown growing growth;work works "
        "worked working;"
        "help helps helped helping;develop develops developed developing development;lead leads "
        "led leading;"
        "stand stands stood standing;bring brings brought bringing;hold holds held holding;wait "
        "waits waited waiting;"
        "follow follows followed following;increase increases increased increasing;live lives "
        "lived living;"
        "choose chooses chose chosen choosing;question questions;member members;high higher "
        "highest;"
        "sit sits sat sitting;reach reaches reached reaching;require requires required requiring "
        "requirements"
    ),
}

_SYNONYMS = {
    "development": (
        "fast quick rapid swift speedy;begin start commence starts begins;smart clever "
        "intelligent bright brilliant;"
        "whole entire complete total full;near close nearby adjacent;rich wealthy prosperous "
        "affluent;"
        "perhaps maybe possibly probably;however nevertheless nonetheless yet;huge vast enormous "
        "immense gigantic;"
        "sick ill unwell ailing;method technique procedure approach;purpose aim goal objective "
        "intention"
    ),
    "test": (
        "strange odd peculiar curious weird;important significant vital crucial essential;also "
        "too besides moreover;"
        "get obtain acquire receive gain;end finish conclude cease;show demonstrate reveal "
        "indicate display;"
        "silent quiet still calm;difficult hard tough arduous;beautiful lovely pretty handsome "
        "attractive;"
        "therefore thus hence consequently accordingly;result outcome consequence effect;often "
        "frequently repeatedly"
    ),
}

SPLITS = ("development", "test", "third")


def list_fields(split: str) -> dict[str, Families]:
    """The families of a split by field."""
    chosen = {"development": _DEVELOPMENT, "test": _TEST, "third": _THIRD}[split]
    return {
        f: {name: tuple(words.split()) for name, words in inside.items()}
        for f, inside in chosen.items()
    }


def list_families(split: str) -> Families:
    return {name: words for inside in list_fields(split).values() for name, words in inside.items()}


def list_lemmas(split: str) -> Families:
    """Inflections and close derivations of one word, by its first form."""
    return _by_first(_LEMMAS.get(split, ""))


def list_synonyms(split: str) -> Families:
    return _by_first(_SYNONYMS.get(split, ""))


def _by_first(lists: str) -> Families:
    return {words.split()[0]: tuple(words.split()) for words in lists.split(";") if words}
