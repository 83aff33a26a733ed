"""Country to RIR service region (BR 3.2.2.9 counts regions), from the five registries' own lists of countries served.

The region follows from the country of the hand-off point, not from who registered an address there.
"""

from __future__ import annotations

from appliance.model.place import Rir

_SERVED: dict[Rir, str] = {
    Rir.AFRINIC: (
        "AO BF BI BJ BW CD CF CG CI CM CV DJ DZ EG EH ER ET GA GH GM GN GQ GW KE KM LR LS LY MA MG ML MR MU MW MZ NA "
        "NE NG RE RW SC SD SL SN SO SS ST SZ TD TG TN TZ UG YT ZA ZM ZW"
    ),
    Rir.APNIC: (
        "AF AS AU BD BN BT CC CK CN CX FJ FM GU HK ID IN IO JP KH KI KP KR LA LK MH MM MN MO MP MV MY NC NF NP NR NU "
        "NZ PF PG PH PK PN PW SB SG TF TH TK TL TO TV TW VN VU WF WS"
    ),
    Rir.ARIN: "AG AI AQ BB BL BM BS BV CA DM GD GP HM JM KN KY LC MF MQ MS PM PR SH TC UM US VC VG VI",
    Rir.LACNIC: "AR AW BO BQ BR BZ CL CO CR CU CW DO EC FK GF GS GT GY HN HT MX NI PA PE PY SR SV SX TT UY VE",
    Rir.RIPE_NCC: (
        "AD AE AL AM AT AX AZ BA BE BG BH BY CH CY CZ DE DK EE ES FI FO FR GB GE GG GI GL GR HR HU IE IL IM IQ IR IS "
        "IT JE JO KG KW KZ LB LI LT LU LV MC MD ME MK MT NL NO OM PL PS PT QA RO RS RU SA SE SI SJ SK SM SY TJ TM TR "
        "UA UZ VA XK YE"
    ),
}
_BY_COUNTRY: dict[str, Rir] = {country: rir for rir, served in _SERVED.items() for country in served.split()}


def region_of(country: str) -> Rir | None:
    """The service region that an ISO 3166-1 alpha-2 country lies in; None for a code that no registry lists."""
    return _BY_COUNTRY.get(country)


def countries() -> frozenset[str]:
    """Every country code with a region."""
    return frozenset(_BY_COUNTRY)
