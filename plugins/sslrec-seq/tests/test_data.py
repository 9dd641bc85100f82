from sslrec_core.testing import ScenarioContract


class TestSeq(ScenarioContract):
    scenario = "seq"
    meaningless = {"seed"}
    variants = ({"split": "time"}, {"split": "leave-one-out", "k_core": 2, "min_rating": None, "min_length": 2})
