"""The list files of Oxford-IIIT Pet: lines of "Image CLASS-ID SPECIES BREED-ID"."""

from dataclasses import dataclass

from saliencymixplus.errors import UserError, nearest

# In the publisher's order: class 1 is the first. Cats have capital letters.
BREEDS = (
    *("Abyssinian", "american_bulldog", "american_pit_bull_terrier", "basset_hound", "beagle"),
    *("Bengal", "Birman", "Bombay", "boxer", "British_Shorthair", "chihuahua", "Egyptian_Mau"),
    *("english_cocker_spaniel", "english_setter", "german_shorthaired", "great_pyrenees"),
    *("havanese", "japanese_chin", "keeshond", "leonberger", "Maine_Coon", "miniature_pinscher"),
    *("newfoundland", "Persian", "pomeranian", "pug", "Ragdoll", "Russian_Blue", "saint_bernard"),
    *("samoyed", "scottish_terrier", "shiba_inu", "Siamese", "Sphynx"),
    *("staffordshire_bull_terrier", "wheaten_terrier", "yorkshire_terrier"),
)


@dataclass(frozen=True)
class PetEntry:
    """One image of a list."""

    image: str  # without folder and extension
    breed: int  # index into BREEDS


def title(breed: int) -> str:
    """ "american_bulldog" as "American Bulldog", as torchvision writes it."""
    return " ".join(part.title() for part in BREEDS[breed].split("_"))


def parse_list(text: str, name: str) -> list[PetEntry]:
    """Read one list file.

    Args:
        text: Its content.
        name: Its name, for messages.

    Returns:
        One row an image, in the file's order; comments (#) and blank lines are left out.

    Raises:
        UserError: a line lacks columns, a number is malformed or out of range, a breed is unknown
            or contradicts its class number, an image is listed twice, or there is no image.
    """
    rows: dict[str, PetEntry] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        fields = line.split()
        if not fields or fields[0].startswith("#"):
            continue
        where = f"{name}, line {number}"
        if len(fields) != 4:
            raise UserError(
                f"{where}: {len(fields)} columns, not the 4 of Image CLASS-ID SPECIES BREED-ID"
            )
        image, numbers = fields[0], fields[1:]
        # isdecimal alone would let Arabic digits pass; int alone "1_0".
        if not all(field.isascii() and field.isdecimal() and len(field) < 6 for field in numbers):
            raise UserError(f"{where}: CLASS-ID, SPECIES and BREED-ID must be numbers: {line!r}")
        stem, separator, index = image.rpartition("_")
        if not separator or not index.isdecimal() or "/" in image:
            raise UserError(f"{where}: {image!r} is not an image name of the form breed_number")
        if stem not in BREEDS:
            raise UserError(f"{where}: unknown breed {stem!r}: {_nearest(stem)}")
        breed = int(numbers[0]) - 1
        if not 0 <= breed < len(BREEDS):
            raise UserError(f"{where}: CLASS-ID {numbers[0]} is not in 1 to {len(BREEDS)}")
        if BREEDS[breed] != stem:
            raise UserError(f"{where}: CLASS-ID {numbers[0]} is {BREEDS[breed]}, not {stem}")
        if int(numbers[1]) not in (1, 2):
            raise UserError(f"{where}: SPECIES {numbers[1]} is neither 1 (cat) nor 2 (dog)")
        if image in rows:
            raise UserError(f"{where}: {image} is listed twice")
        rows[image] = PetEntry(image, breed)
    if not rows:
        raise UserError(f"{name} does not list any image")
    return list(rows.values())


def _nearest(stem: str) -> str:
    return nearest(stem, BREEDS)
