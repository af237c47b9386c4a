"""Chinese wordings of the same kinds of question as the English ones, and how their answers are said."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from medvqa.simulation import Kind

SLOTS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "image": ("图像", "影像", "图片", "片子", "这张图", "这张图像", "该图像", "此图", "这幅影像", "本图"),
        "shown": ("显示", "可见", "看到", "出现", "呈现"),
        "what": ("什么", "何种", "哪种"),
        "brain": ("脑部磁共振", "脑部MRI", "头部MRI", "磁共振图像", "{image}"),
        "chest": ("胸片", "胸部X光", "胸部X光片", "X光片", "{image}"),
        "breast": ("乳腺超声", "超声图像", "乳腺超声图像", "{image}"),
        "tumor": ("肿瘤", "脑肿瘤", "占位", "肿块"),
        "lesion": ("病变", "肿块", "肿物", "病灶"),
        "pneumonia": ("肺炎", "肺部感染"),
        "abnormality": ("异常", "病变", "病灶"),
        "finding": ("疾病", "病变", "异常", "诊断"),
    }
)
"""What may stand in a slot of any wording."""
FINDINGS: Mapping[Kind, tuple[str, ...]] = MappingProxyType(
    {
        "nodule": ("结节", "结节", "亮结节", "圆形结节", "亮点", "圆形亮斑"),
        "opacity": ("阴影", "模糊影", "片状影", "模拟阴影"),
        "mass": ("肿块", "分叶状肿块", "模拟肿块", "大肿块"),
        "line": ("亮线", "细线", "导管线", "模拟线"),
        "marker": ("标记", "标志", "字母标记", "模拟标记"),
    }
)
"""What a simulated finding may be called; `{nodule}` stands for one of these."""
BEFORE = ("请问，", "请回答：", "问题：", "医生，", "根据图像，", "请看图：", "请告诉我，", "从影像上看，")
"""What may come first and changes nothing."""

WORDINGS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "modality": (
            "这是{what}成像方式？",
            "{image}是用{what}检查得到的？",
            "使用了{what}成像技术？",
            "这是{what}类型的影像？",
            "{image}的成像模态是什么？",
            "这是磁共振、X光还是超声？",
            "这属于{what}检查？",
        ),
        "organ": (
            "{image}{shown}的是哪个器官？",
            "这是哪个器官？",
            "这是身体的哪个部位？",
            "{image}拍的是什么部位？",
            "检查的是哪个部位？",
            "图中是什么器官？",
            "这是脑、胸部还是乳腺？",
        ),
        "abnormality": (
            "{image}正常还是异常？",
            "这是正常还是异常？",
            "正常还是异常？",
            "{organ}是正常还是异常的？",
            "请判断{image}是正常还是异常。",
        ),
        "is_normal": (
            "{image}正常吗？",
            "这正常吗？",
            "{organ}正常吗？",
            "{image}看起来正常吗？",
            "是否正常？",
        ),
        "finding_present": (
            "{image}中有{abnormality}吗？",
            "有{abnormality}吗？",
            "有没有{abnormality}？",
            "是否存在{abnormality}？",
            "{image}是否{shown}{abnormality}？",
            "能看到{abnormality}吗？",
        ),
        "brain_present": (
            "{brain}中有{tumor}吗？",
            "有{tumor}吗？",
            "有没有{tumor}？",
            "是否有{tumor}？",
            "能看到{tumor}吗？",
            "{brain}是否{shown}{tumor}？",
        ),
        "chest_present": (
            "{chest}中有{pneumonia}吗？",
            "有{pneumonia}吗？",
            "有没有{pneumonia}？",
            "是否有{pneumonia}？",
            "{chest}是否{shown}{pneumonia}？",
        ),
        "breast_present": (
            "{breast}中有{lesion}吗？",
            "有{lesion}吗？",
            "有没有{lesion}？",
            "是否有{lesion}？",
            "{breast}是否{shown}{lesion}？",
        ),
        "finding": (
            "{named}{shown}了{what}{finding}？",
            "{image}中的{finding}是什么？",
            "诊断是什么？",
            "最可能的诊断是什么？",
            "这是{what}{finding}？",
            "{named}的诊断是什么？",
        ),
        "brain_finding": (
            "这是{what}{tumor}？",
            "{brain}{shown}的是{what}{tumor}？",
            "{tumor}是什么类型？",
            "胶质瘤、脑膜瘤、垂体瘤还是无肿瘤？",
        ),
        "chest_finding": ("肺炎还是无异常？", "{chest}{shown}肺炎还是无异常？", "肺部有什么{finding}？"),
        "breast_finding": (
            "{lesion}是良性还是恶性？",
            "良性、恶性还是正常？",
            "{breast}是良性、恶性还是正常？",
            "{lesion}的性质是什么？",
        ),
        "nodule_present": (
            "{image}中有{nodule}吗？",
            "有{nodule}吗？",
            "有没有{nodule}？",
            "是否有{nodule}？",
            "能看到{nodule}吗？",
            "{image}是否{shown}{nodule}？",
        ),
        "nodule_side": (
            "{nodule}在哪一侧？",
            "{nodule}在图像的左侧还是右侧？",
            "{nodule}位于左边还是右边？",
            "{nodule}在左半还是右半？",
        ),
        "nodule_quadrant": (
            "{nodule}在哪个象限？",
            "{nodule}在哪里？",
            "{nodule}位于什么位置？",
            "{nodule}在图像的哪个象限？",
            "请指出{nodule}的位置。",
        ),
        "description": (
            "请描述{image}。",
            "描述{image}。",
            "用一句话描述{image}。",
            "你在{image}中看到了什么？",
            "请简单描述。",
        ),
        "two_part_organ_modality": ("这是哪个器官，用的是{what}成像方式？",),
        "two_part_modality_organ": ("这是{what}成像方式，{shown}的是哪个器官？",),
        "two_part_organ_abnormality": ("这是哪个器官，正常还是异常？",),
        "two_part_nodule": ("有{nodule}吗？如果有，在哪里？", "是否有{nodule}，在哪个象限？"),
        "unanswerable": (
            "患者多大年龄？",
            "患者几岁？",
            "患者的{personal}是什么？",
            "患者是男是女？",
            "患者叫什么名字？",
            "患者有{history}史吗？",
            "患者是否{habit}？",
            "患者发烧吗？",
            "患者有什么症状？",
            "应该用什么药？",
            "应该如何治疗？",
            "患者能活多久？",
            "预后如何？",
            "图像是什么时候拍的？",
            "图像是在哪家医院拍的？",
            "与上次检查相比有变化吗？",
            "血液检查结果怎样？",
            "活检结果是什么？",
            "有基因突变吗？",
            "病因是什么？",
            "{elsewhere}正常吗？",
            "{elsewhere}有病变吗？",
            "{elsewhere}有骨折吗？",
        ),
    }
)
"""By the names that the English wordings have."""
SLOTS_UNANSWERABLE: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "personal": ("年龄", "性别", "身高", "体重", "血压", "血型", "姓名", "职业", "住址"),
        "history": ("吸烟", "手术", "高血压", "糖尿病", "过敏", "家族肿瘤"),
        "habit": ("吸烟", "喝酒", "运动", "服药", "过敏", "怀孕"),
        "elsewhere": ("肝脏", "肾脏", "膝关节", "心脏", "脊柱", "胃", "胰腺", "前列腺", "眼睛", "手"),
    }
)
"""What may stand in a slot of a question that no image answers."""
SAYINGS: Mapping[str, str] = MappingProxyType(
    {
        "MRI": "磁共振",
        "X-ray": "X光",
        "ultrasound": "超声",
        "brain": "脑",
        "chest": "胸部",
        "breast": "乳腺",
        "glioma": "胶质瘤",
        "meningioma": "脑膜瘤",
        "pituitary tumor": "垂体瘤",
        "no tumor": "无肿瘤",
        "pneumonia": "肺炎",
        "no finding": "无异常",
        "benign": "良性",
        "malignant": "恶性",
        "normal": "正常",
        "abnormal": "异常",
        "yes": "是",
        "no": "否",
        "upper left quadrant": "左上象限",
        "upper right quadrant": "右上象限",
        "lower left quadrant": "左下象限",
        "lower right quadrant": "右下象限",
        "left side of the image": "图像左侧",
        "right side of the image": "图像右侧",
        "there is no nodule": "没有结节",
        "there is no opacity": "没有阴影",
        "there is no mass": "没有肿块",
        "there is no line": "没有亮线",
        "there is no marker": "没有标记",
        "cannot be determined from this image": "无法从该图像判断",
    }
)
"""Answers in English, and the same in Chinese."""
