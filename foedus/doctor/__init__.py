"""`foedus doctor`: why does my node not do what it should? One law: whatever is wrong comes with what to do.

`settings` looks at files and this machine, `running` at the node and its peers; `finding` is what both report. Nothing
is changed.
"""

from foedus.doctor.finding import Finding, Report
from foedus.doctor.running import examine_running
from foedus.doctor.settings import examine_settings

__all__ = ["Finding", "Report", "examine_running", "examine_settings"]
