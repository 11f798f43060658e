"""The list files of Oxford-IIIT Pet: lines of "Image CLASS-ID SPECIES BREED-ID"."""

from dataclasses import dataclass

from saliencymixplus.errors import UserError, nearest

# In the publisher's order, starting with class 1. Names of cats are capitalised.
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
    """One image in a list."""

    image: str  # without folder and extension
    breed: int  # index into BREEDS


def title(breed: int) -> str:
    """The breed's name as in torchvision, such as "American Bulldog"."""
    return " ".join(part.title() for part in BREEDS[breed].split("_"))


def parse_list(text: str, name: str) -> list[PetEntry]:
    """Read a list file called ``name``, an entry per image in the file's order.

    Comments (#) and blank lines are skipped.

    Raises:
        UserError: a line has too few columns, a number is malformed or out of range, a breed is
            unknown or contradicts its class number, an image is listed twice, or there are none.
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
        # isdecimal alone would accept Arabic digits, and int alone "1_0".
        if not all(field.isascii() and field.isdecimal() and len(field) < 6 for field in numbers):
            raise UserError(f"{where}: CLASS-ID, SPECIES and BREED-ID must be numbers: {line!r}")
        stem, separator, index = image.rpartition("_")
        if not separator or not index.isdecimal() or "/" in image:
            raise UserError(f"{where}: {image!r} is not an image name of the form breed_number")
        if stem not in BREEDS:
            raise UserError(f"{where}: unknown breed {stem!r}: {nearest(stem, BREEDS)}")
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
