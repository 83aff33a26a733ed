"""The countries that each Regional Internet Registry serves, from the five registries' own lists.

Imports nothing: the playbooks read this file by its path, on machines that have no appliance installed.
"""

from __future__ import annotations

SERVED = {
    "AFRINIC": (
        "AO BF BI BJ BW CD CF CG CI CM CV DJ DZ EG EH ER ET GA GH GM GN GQ GW KE KM LR LS LY MA MG ML MR MU MW MZ NA "
        "NE NG RE RW SC SD SL SN SO SS ST SZ TD TG TN TZ UG YT ZA ZM ZW"
    ),
    "APNIC": (
        "AF AS AU BD BN BT CC CK CN CX FJ FM GU HK ID IN IO JP KH KI KP KR LA LK MH MM MN MO MP MV MY NC NF NP NR NU "
        "NZ PF PG PH PK PN PW SB SG TF TH TK TL TO TV TW VN VU WF WS"
    ),
    "ARIN": "AG AI AQ BB BL BM BS BV CA DM GD GP HM JM KN KY LC MF MQ MS PM PR SH TC UM US VC VG VI",
    "LACNIC": "AR AW BO BQ BR BZ CL CO CR CU CW DO EC FK GF GS GT GY HN HT MX NI PA PE PY SR SV SX TT UY VE",
    "RIPE NCC": (
        "AD AE AL AM AT AX AZ BA BE BG BH BY CH CY CZ DE DK EE ES FI FO FR GB GE GG GI GL GR HR HU IE IL IM IQ IR IS "
        "IT JE JO KG KW KZ LB LI LT LU LV MC MD ME MK MT NL NO OM PL PS PT QA RO RS RU SA SE SI SJ SK SM SY TJ TM TR "
        "UA UZ VA XK YE"
    ),
}
REGIONS = {country: rir for rir, served in SERVED.items() for country in served.split()}
"""The region of each ISO 3166-1 alpha-2 code, by the registry's name."""
