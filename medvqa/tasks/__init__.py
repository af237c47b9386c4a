"""Tasks beside question answering, by one door: captions, reports, text, boxes, masks, classes, change."""

from medvqa.tasks.performing import TASKS, Task, TaskResult, perform

__all__ = ["TASKS", "Task", "TaskResult", "perform"]
