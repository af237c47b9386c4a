"""Studies a second through `medvqa report`, beside a plain loop over transformers' own pipeline.

    python benchmarks/batch.py [--quick] [--kills N] [--studies N] [--memory N]

Each is a process of its own, from start to end, and asks the same questions about the same images with the
same model; ours also measures every check, records every answer and writes a report a study. Then a batch is
killed with -9 at random moments, its driver and its actors in turn, and resumed; and another runs over many
studies while its memory is measured. The last line is JSON: ratios and counts.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import psutil
import pyarrow.parquet as pq

from audit import Log
from audit.actions import Action
from medvqa.simulated_study import write_simulated_study

QUESTIONS = (
    "Is there a nodule in this image?",
    "Where is the nodule?",
    "Which imaging modality is this?",
    "Which organ is shown?",
    "How old is the patient?",
    "Is there a finding?",
    "What abnormality is seen?",
    "In which quadrant is the nodule?",
)

PEER = """
import json, sys, time
from pathlib import Path
import torch
from PIL import Image as PillowImage
from transformers import AutoModelForImageTextToText, AutoProcessor, pipeline
from medvqa.imaging import to_uint8
from medvqa.models.checkpoints import find_checkpoint
from medvqa.study import read_study

folder, questions = Path(sys.argv[1]), json.loads(sys.argv[2])
place = find_checkpoint("default")
ask = pipeline(
    "image-text-to-text",
    model=AutoModelForImageTextToText.from_pretrained(place, dtype=torch.float32),
    processor=AutoProcessor.from_pretrained(place, backend="pil"),
)
said, began = {}, time.perf_counter()
for path in sorted(folder.iterdir()):
    study = read_study(path)
    image = PillowImage.fromarray(to_uint8(study.images[len(study.images) // 2]))
    for question in questions:
        content = [{"type": "image", "image": image}, {"type": "text", "text": question}]
        answer = ask(
            text=[{"role": "user", "content": content}],
            return_full_text=False,
            generate_kwargs={"do_sample": False, "max_new_tokens": 32},
        )
        said[f"{study.study_instance_uid} {question}"] = answer[0]["generated_text"].strip()
print(json.dumps({"said": said, "seconds": time.perf_counter() - began}))
"""


class Place:
    """A folder of studies, and a batch about them with a trail of its own."""

    def __init__(self, folder: Path, studies: int) -> None:
        self.folder, self.studies = folder, studies
        for seed in range(studies):
            write_simulated_study(folder / "in" / f"case-{seed:05}", seed=seed)
        (folder / "questions.txt").write_text("\n".join(QUESTIONS))
        self.environment = {
            **os.environ,
            "MEDVQA_AUDIT_URL": str(folder / "audit.sqlite"),
            "MEDVQA_KEY_FOLDER": str(folder / "keys"),
            "MEDVQA_AGENT": "benchmark",
            "MEDVQA_UNFAMILIAR": "warn",
            "HF_HUB_OFFLINE": "1",
        }

    def start(self) -> subprocess.Popen[str]:
        """Begin the batch, or go on with it."""
        command = [sys.executable, "-m", "medvqa", "report", str(self.folder / "in")]
        command += ["--questions", str(self.folder / "questions.txt"), "--out", str(self.folder / "out")]
        return subprocess.Popen(
            command, env=self.environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )

    def done(self) -> int:
        """Studies that are done."""
        return len([*(self.folder / "out" / "done").glob("*.json")])

    def last_done(self) -> float:
        """When the last study was done, in seconds since 1970."""
        return max(one.stat().st_mtime for one in (self.folder / "out" / "done").glob("*.json"))

    def first_asked(self) -> float:
        """When the first question was recorded, which is before the model sees it."""
        log = Log(f"sqlite:///{self.folder}/audit.sqlite", create=False)
        return next(event for event in log.read() if event.action == Action.ASK).recorded.timestamp()

    def answers(self) -> dict[str, str]:
        """What was said, as the table has it."""
        rows = pq.read_table(self.folder / "out" / "answers.parquet").to_pylist()
        return {f"{row['study_instance_uid']} {row['question']}": row["answer"] for row in rows}

    def recorded(self) -> Counter[tuple[str, str]]:
        """How often the trail has an answer to each question about each study."""
        log = Log(f"sqlite:///{self.folder}/audit.sqlite", create=False)
        if not log.verify().intact:
            raise SystemExit("the trail is not intact")
        return Counter(
            (str(event.study), str(event.entity["question"]))
            for event in log.read()
            if event.action == Action.ANSWER and event.outcome == "success"
        )


def require_success(process: subprocess.Popen[str], told: str) -> None:
    """End the benchmark where a batch failed."""
    if process.returncode:
        raise SystemExit(f"the batch ended with {process.returncode}: {told}")


def run_peer(place: Place) -> tuple[float, float, dict[str, str]]:
    """Seconds in all, seconds of the loop alone, and what it said."""
    began = time.perf_counter()
    command = [sys.executable, "-c", PEER, str(place.folder / "in"), json.dumps(QUESTIONS)]
    output = subprocess.run(command, env=place.environment, check=True, capture_output=True, text=True).stdout
    told = json.loads(output.splitlines()[-1])
    return time.perf_counter() - began, told["seconds"], told["said"]


def run_ours(place: Place) -> tuple[float, float, dict[str, str]]:
    """Seconds in all, seconds from the first question to the last report, and what it said."""
    began = time.perf_counter()
    process = place.start()
    _, told = process.communicate()
    require_success(process, told)
    seconds = time.perf_counter() - began
    return seconds, place.last_done() - place.first_asked(), place.answers()


def kill_and_resume(place: Place, kills: int, rng: random.Random) -> dict[str, object]:
    """Kill driver and actors in turn at random moments, resume, and count what the trail has."""
    killed: Counter[str] = Counter()
    process = place.start()
    while sum(killed.values()) < kills and process.poll() is None:
        time.sleep(rng.uniform(5, 70))  # it takes about 40 s until the first study is done
        kind = "driver" if sum(killed.values()) % 2 == 0 else "actor"
        if kind == "driver":
            process.kill()
            process.wait()
            process = place.start()
        else:
            victim = find_actor(process)
            if victim is None:
                continue
            victim.kill()
        killed[kind] += 1
    _, told = process.communicate()
    require_success(process, told)
    counts = place.recorded()
    return {
        "killed_drivers": killed["driver"],
        "killed_actors": killed["actor"],
        "studies_done": place.done(),
        "answers_asked_twice": sum(count > 1 for count in counts.values()),
        "answers_missing": place.studies * len(QUESTIONS) - len(counts),
        "table_agrees": len(place.answers()) == len(counts),
    }


def find_actor(process: subprocess.Popen[str]) -> psutil.Process | None:
    """A process of Ray that answers; None once the batch is over."""
    while process.poll() is None:
        try:
            children = psutil.Process(process.pid).children(recursive=True)
            found = [one for one in children if "Answerer" in " ".join(one.cmdline())]
        except psutil.Error:
            continue
        if found:
            return found[0]
        time.sleep(0.1)
    return None


def measure_memory(place: Place) -> dict[str, float]:
    """Memory of all processes in MB, at most, early in the batch and late in it.

    It is the proportional set size: a page that several share, as those of Ray's store are, counts once.
    """
    process = place.start()
    seen: list[tuple[int, float]] = []
    while process.poll() is None:
        try:
            family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
            seen.append((place.done(), sum(one.memory_full_info().pss for one in family) / 2**20))
        except psutil.Error:
            continue
        time.sleep(1)
    require_success(process, "")
    early = [used for done, used in seen if 0.1 <= done / place.studies <= 0.3]
    late = [used for done, used in seen if done / place.studies >= 0.8]
    return {"early_mb": round(max(early)), "late_mb": round(max(late))}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few studies, two kills")
    parser.add_argument("--studies", type=int, default=200, help="for the ratio; 0 leaves it out, as below")
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--memory", type=int, default=2000, help="studies while memory is measured")
    options = parser.parse_args()
    studies, kills, many = options.studies, options.kills, options.memory
    if options.quick:
        studies, kills, many = 16, 2, 40
    told: dict[str, object] = {"studies": studies, "questions": len(QUESTIONS)}
    if studies:
        with tempfile.TemporaryDirectory() as folder:
            place = Place(Path(folder), studies)
            peer, peer_loop, said = run_peer(place)
            ours, ours_asking, answers = run_ours(place)
            print(f"pipeline: {peer:.1f} s in all, {peer_loop:.1f} s of its loop")
            print(f"medvqa report: {ours:.1f} s in all, {ours_asking:.1f} s from its first question on")
            told |= {
                "faster_in_all": round(peer / ours, 2),
                "faster_once_asking": round(peer_loop / ours_asking, 2),
                "answers_identical": answers == said,
            }
    if kills:
        with tempfile.TemporaryDirectory() as folder:
            came = kill_and_resume(Place(Path(folder), 60 * kills), kills, random.Random(2026))  # noqa: S311
            print(came, flush=True)
            told |= came
    if many:
        with tempfile.TemporaryDirectory() as folder:
            came = measure_memory(Place(Path(folder), many))
            print(came, flush=True)
            told |= came
    print(json.dumps(told))


if __name__ == "__main__":
    main()
