"""The steps between the plan and the decision of a run that judges a model trained elsewhere."""

from sample_documents import sample_snapshot

from bwpredict.documents import encode_document, read_document
from bwpredict.gate.decision import make_decision
from bwpredict.pipeline import challenger
from bwpredict.pipeline.imported_model import import_model
from bwpredict.registry.layout import onnx_name
from bwpredict.store.files import sha256_of


def judge_imported(area, split, run, champion=None):
    """The comparison, and the checks of the decision by id."""
    import_model(area, split, run, run.imported)
    challenger.check_imported(area, split, run)
    comparison = challenger.evaluate(area, split, run, sample_snapshot(), champion)
    decision = make_decision(
        comparison,
        read_document(area / "parity.json", "parity"),
        read_document(area / "latency.json", "latency"),
        run.policy,
        version=run.version,
        run_id=run.run_id,
        month=run.month,
        onnx_sha256=sha256_of(area / onnx_name(run.version)),
        snapshot_id="abc",
        decided_at=run.created_at,
        imported=read_document(area / "imported_model.json", "imported_model"),
    )
    encode_document("decision", decision, name="decision")
    return comparison, {check["id"]: check for check in decision["checks"]}
