"""Table of the annotation formats. A new format needs a module and an entry, and its name in `AnnotatedData.source`."""

from __future__ import annotations

from pipeline.prepare.formats.annotation_format import AnnotationFormat
from pipeline.prepare.formats.coco import COCO
from pipeline.prepare.formats.coco_panoptic import COCO_PANOPTIC
from pipeline.prepare.formats.cvat import CVAT
from pipeline.prepare.formats.label_studio import LABEL_STUDIO
from pipeline.prepare.formats.labelme import LABELME
from pipeline.prepare.formats.supervisely import SUPERVISELY
from pipeline.prepare.formats.yolo import YOLO

# In the order in which `pipeline init` tries them: the more specific formats come first.
FORMATS: dict[str, AnnotationFormat] = {
    one.source: one for one in (CVAT, YOLO, SUPERVISELY, COCO_PANOPTIC, LABEL_STUDIO, LABELME, COCO)
}
