"""Settings every test shares: Hypothesis keeps no deadline, since two cores serve everybody."""

from hypothesis import HealthCheck, settings

settings.register_profile("foedus", deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)
settings.load_profile("foedus")
