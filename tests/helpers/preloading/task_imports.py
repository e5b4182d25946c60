"""Import the modules of the retraining's tasks in the process that forks them, which saves each task some seconds."""

import bwpredict.pipeline.challenger
import bwpredict.pipeline.decision
import bwpredict.reports.model_card
import bwpredict.validation.verdict  # noqa: F401
