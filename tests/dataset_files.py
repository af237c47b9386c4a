"""Small downloads of the very shape of the public sets, made in code. No image of any set is in here."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image as PillowImage

SIDE = 24


def picture(path: Path, value: int) -> Path:
    """An image that differs from those of other values, of SIDE x SIDE pixels."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.full((SIDE, SIDE), value, dtype=np.uint8)
    pixels[: SIDE // 2] += 60
    PillowImage.fromarray(pixels).save(path)
    return path


def dump(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")


def lines(path: Path, *content: str, encoding: str = "utf-8") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in content), encoding=encoding)


def vqa_rad(folder: Path) -> Path:
    """Four questions about two images, one of which is in both splits, with the file's stray spaces."""
    first = {
        "qid": "0",
        "phrase_type": "freeform",
        "qid_linked_id": "03f451ca-de62-4617-9679-e836026a7642",
        "image_case_url": "https://medpix.nlm.nih.gov/case?id=48e1dd0e-8552-46ad-a354-5eb55be86de6",
        "image_name": "synpic54610.jpg",
        "image_organ": "HEAD",
        "evaluation": "not evaluated",
        "question": "Are regions of the brain infarcted?",
        "question_rephrase": "NULL",
        "question_relation": "NULL",
        "question_frame": "NULL",
        "question_type": "PRES",
        "answer": "Yes",
        "answer_type": "CLOSED",
    }
    chest = {"image_name": "synpic29265.jpg", "image_case_url": "https://medpix.nlm.nih.gov/case?id=b197277b"}
    rows = [
        first,
        first | {"phrase_type": "para", "question": "Is the brain\tinfarcted? ", "answer_type": "CLOSED "},
        first
        | chest
        | {
            "qid": 2,
            "question_type": "COUNT, ABN",
            "answer": 4,
            "answer_type": "OPEN",
            "question": "How many?",
        },
        first
        | {"phrase_type": "test_freeform", "question_type": "Other", "answer_type": " open"}
        | {"image_case_url": "NULL"},
    ]
    dump(folder / "VQA_RAD Dataset Public.json", rows)
    for value, name in enumerate(("synpic54610.jpg", "synpic29265.jpg", "synpic1.jpg")):
        picture(folder / "VQA_RAD Image Folder" / name, 20 * value)
    return folder


def slake(folder: Path) -> Path:
    """Two images with boxes and masks, and questions in both languages."""
    row = {
        "img_id": 1,
        "img_name": "xmlab1/source.jpg",
        "question": "Where is the liver?",
        "answer": "Right",
        "q_lang": "en",
        "location": "Abdomen",
        "modality": "MRI",
        "answer_type": "OPEN",
        "base_type": "vqa",
        "content_type": "Position",
        "triple": ["vhead", "_", "_"],
        "qid": 0,
    }
    other = row | {"img_id": 2, "img_name": "xmlab2/source.jpg"}
    train = [
        row,
        row
        | {
            "qid": 1,
            "question": "图中包含肝脏吗?",
            "answer": "包含",
            "q_lang": "zh",
            "answer_type": "CLOSED",
        },
        row | {"qid": 2, "question": "Does the picture contain spleen?", "answer": "No"},
        row | {"qid": 3, "question": "Is the left lung or the liver larger?", "answer": "Liver"},
        row | {"qid": 4, "question": "Which is larger, lung or liver?", "answer": "The left lung, the liver"},
        row | {"qid": 5, "question": "What is shown?", "answer": "Right Lung", "content_type": "Organ "},
    ]
    val = [
        other | {"qid": 6, "question": "What disease is shown?", "answer": "Atelectasis", "base_type": "kg"}
    ]
    test = [other | {"qid": 7, "question": "Where is the lung?", "answer": "右肺", "q_lang": "zh"}]
    for name, rows in (("train", train), ("validate", val), ("test", test)):
        dump(folder / f"{name}.json", rows)
    lines(folder / "mask.txt", "0:Background", "1:Liver", "2:Left Lung", "3: Right Lung")
    boxes = {"xmlab1": [{"Liver": [2, 4, 10, 6]}, {"Left Lung": [0, 0, 5, 5]}, {"Right Lung": [9, 0, 5, 5]}]}
    boxes["xmlab2"] = [{"Atelectasis": [12.0, 13.0, 4.0, 5.0]}]
    for value, (name, found) in enumerate(boxes.items()):
        picture(folder / "imgs" / name / "source.jpg", 40 + value)
        dump(folder / "imgs" / name / "detection.json", found)
        dump(folder / "imgs" / name / "question.json", [])
        mask = np.zeros((SIDE, SIDE, 3), dtype=np.uint8)
        mask[4:10, 2:12] = 1 - value  # an image of the lung has an empty one
        mask[0:3, 0:3] = 2 * (1 - value)
        PillowImage.fromarray(mask).save(folder / "imgs" / name / "mask.png")
    return folder


def path_vqa(folder: Path) -> Path:
    """The authors' lists, each a pickle; the test's image is a copy of one in training."""
    rows = {
        "train": [
            {"image": "train_0422", "question": "Where are liver stem cells (oval cells) located?"}
            | {"answer": "in the canals of hering"},
            {"image": "train_0422", "question": "Is the liver shown?", "answer": "Yes"},
            {"image": "train_0001", "question": "How many  cells?", "answer": 3},
        ],
        "val": [{"image": "val_0261", "question": "What have lost their nuclei?", "answer": "neutrophils"}],
        "test": [{"image": "test_0273", "question": "Does it show β-cells?", "answer": "no"}],
    }
    values = {"train_0422": 10, "train_0001": 11, "val_0261": 12, "test_0273": 10}
    for split, listed in rows.items():
        path = folder / "qas" / split / f"{split}_qa.pkl"
        path.parent.mkdir(parents=True)
        path.write_bytes(pickle.dumps(listed, protocol=2))
        for row in listed:
            picture(folder / "images" / split / f"{row['image']}.jpg", values[str(row["image"])])
    return folder


def vqa_med_2019(folder: Path) -> Path:
    """The three unpacked archives; the last one in Windows' alphabet."""
    train = folder / "ImageClef-2019-VQA-Med-Training"
    val = folder / "ImageClef-2019-VQA-Med-Validation"
    test = folder / "VQAMed2019Test"
    pairs = {
        "C1_Modality": "synpic1|what modality is shown?|xr - plain film",
        "C2_Plane": "synpic1|in what plane is this x-ray?|pa",
        "C3_Organ": "synpic2|what organ system is shown?|lung, mediastinum, pleura",
        "C4_Abnormality": "synpic2|is this image normal?|yes",
    }
    lines(train / "All_QA_Pairs_train.txt", *pairs.values(), "synpic2|what else is seen?|a line | tube")
    for name, pair in pairs.items():
        lines(train / "QAPairsByCategory" / f"{name}_train.txt", pair)
    lines(val / "All_QA_Pairs_val.txt", "synpic3|is \tthis a t1 weighted image?|no")
    lines(val / "QAPairsByCategory" / "C1_Modality_val.txt", "synpic3|is \tthis a t1 weighted image?|no")
    lines(
        test / "VQAMed2019_Test_Questions_w_Ref_Answers.txt",
        "synpic54143|abnormality|what is the primary abnormality?|oligodendroglioma#multi-cystic mass",
        "synpic35171|abnormality|what is abnormal?|(angioinvasive aspergillosis with) septic emboli",
        "synpic4|abnormality|what is this?|Hodgkin’s lymphoma",
        encoding="cp1252",
    )
    for value, name in enumerate(("synpic1", "synpic2")):
        picture(train / "Train_images" / f"{name}.jpg", value)
    picture(val / "Val_images" / "synpic3.jpg", 3)
    for value, name in enumerate(("synpic54143", "synpic35171", "synpic4"), 4):
        picture(test / "VQAMed2019_Test_Images" / f"{name}.jpg", value)
    return folder


def vqa_med_2021(folder: Path) -> Path:
    """The archives of 2020 (training) and of 2021 (validation, test)."""
    old = folder / "VQA-Med-2020-Task1-VQAnswering-TrainVal-Sets"
    train, more = old / "VQAMed2020-VQAnswering-TrainingSet", old / "VQAMed2020-VQAnswering-ValidationSet"
    val = folder / "VQA-Med-2021-Tasks-1-2-NewValidationSets"
    test = folder / "Task1-VQA-2021-TestSet-w-GroundTruth"
    lines(
        train / "VQAnswering_2020_Train_QA_pairs.txt", "synpic1|what is most alarming in this ct scan?|ileus"
    )
    lines(more / "VQAnswering_2020_Val_QA_Pairs.txt", "synpic2|is there an abnormality in the image?|yes")
    lines(
        val / "VQA-Med-2021-VQAnswering-Task1-New-ValidationSet.txt",
        "synpic3|what is seen?|aortic dissection",
    )
    asked = [f"synpic{number}|what is the abnormality in the image?" for number in (42072, 37231)]
    lines(test / "Task1-VQA-2021-TestSet-Questions.txt", *asked)
    lines(
        test / "Task1-VQA-2021-TestSet-ReferenceAnswers.txt",
        "synpic37231|pulmonary embolism",
        "synpic42072|avascular necrosis|extensive degenerative changes.|",
    )
    picture(train / "VQAnswering_2020_Train_images" / "synpic1.jpg", 1)
    picture(more / "VQAnswering_2020_Val_images" / "synpic2.jpg", 2)
    picture(val / "ImageCLEF-2021-VQA-Med-New-Validation-Images" / "synpic3.jpg", 3)
    for value, number in enumerate((42072, 37231), 4):
        picture(test / "images" / "VQA-500-Images" / f"synpic{number}.jpg", value)
    return folder


def omni_med_vqa(folder: Path) -> Path:
    """Two of the open-access lists, one with its own name for the modality, and one that is restricted."""
    row = {
        "dataset": "ACRIMA",
        "question_id": "ACRIMA_0000",
        "question_type": "Disease Diagnosis",
        "question": "Is there any indication of glaucoma in this image?",
        "gt_answer": "No, the image is normal.",
        "image_path": "Images/ACRIMA/Im002_ACRIMA.png",
        "option_A": "Yes",
        "option_B": "No, the image is normal.",
        "option_C": "Cannot tell",
        "option_D": "It's unclear",
        "modality_type": "Fundus Photography",
    }
    scan = {
        name: value for name, value in row.items() if name not in ("option_C", "option_D", "modality_type")
    }
    scan |= {"dataset": "Chest CT Scan", "modality": "CT(Computed Tomography)", "gt_answer": "Yes"}
    scan |= {"question_type": "Modality Recognition", "image_path": "Images/Chest CT Scan/test/a b.png"}
    lists = folder / "OmniMedVQA" / "QA_information"
    dump(lists / "Open-access" / "ACRIMA.json", [row, row])
    dump(lists / "Open-access" / "Chest CT Scan.json", [scan])
    dump(lists / "Restricted-access" / "HuSHeM.json", [row | {"image_path": "Images/HuSHeM/1.png"}])
    picture(folder / "OmniMedVQA" / "Images" / "ACRIMA" / "Im002_ACRIMA.png", 1)
    picture(folder / "OmniMedVQA" / "Images" / "Chest CT Scan" / "test" / "a b.png", 2)
    return folder


def shared(folder: Path) -> Path:
    """One image of each label of the three sets."""
    labels = {
        "brain_mri": ("glioma", "meningioma", "pituitary", "no_tumor"),
        "chest_xray": ("pneumonia", "no_finding"),
        "breast_us": ("benign", "malignant", "normal"),
    }
    rows = ["path,set,label,split,group"]
    for name, found in labels.items():
        for number, label in enumerate(found):
            picture(folder / name / f"{number:05}.jpg", 20 * number)
            rows.append(
                f"{name}/{number:05}.jpg,{name},{label},{'val' if number else 'train'},{name}-{number}"
            )
    lines(folder / "images.csv", *rows)
    return folder
