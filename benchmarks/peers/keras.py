"""Keras on TensorFlow: the network of its pets example, RMSprop, `fit` on arrays in memory, no augmentation."""

from __future__ import annotations

import os

os.environ |= {"KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}

import keras
import numpy as np
import tensorflow
from keras import layers

from benchmarks.peers.pace import Pace
from benchmarks.workload import BATCH, CLASSES, SIZE, made_up


def network() -> keras.Model:
    """The 2,058,979 parameters of the example."""
    images = keras.Input((SIZE, SIZE, 3))
    x = _normalised(layers.Conv2D(32, 3, strides=2, padding="same")(images))
    x = across = layers.Activation("relu")(x)
    for filters in (64, 128, 256):
        for _ in range(2):
            x = layers.Activation("relu")(x)
            x = _normalised(layers.SeparableConv2D(filters, 3, padding="same")(x))
        x = layers.MaxPooling2D(3, strides=2, padding="same")(x)
        x = across = layers.add([x, layers.Conv2D(filters, 1, strides=2, padding="same")(across)])
    for filters in (256, 128, 64, 32):
        for _ in range(2):
            x = layers.Activation("relu")(x)
            x = _normalised(layers.Conv2DTranspose(filters, 3, padding="same")(x))
        across = layers.Conv2D(filters, 1, padding="same")(layers.UpSampling2D(2)(across))
        x = across = layers.add([layers.UpSampling2D(2)(x), across])
    return keras.Model(images, layers.Conv2D(CLASSES, 3, activation="softmax", padding="same")(x))


def _normalised(x: keras.KerasTensor) -> keras.KerasTensor:
    return layers.BatchNormalization()(x)


class Watch(keras.callbacks.Callback):
    """Stops the training when there were enough steps."""

    def __init__(self) -> None:
        super().__init__()
        self.pace = Pace()

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        """A step is over."""
        del batch, logs
        self.model.stop_training = self.pace.step()


def images_per_second(threads: int) -> float:
    """In float32, as the example does it."""
    tensorflow.config.threading.set_intra_op_parallelism_threads(threads)
    tensorflow.config.threading.set_inter_op_parallelism_threads(1)
    keras.utils.set_random_seed(0)
    split, watch, model = made_up(BATCH), Watch(), network()
    assert model.count_params() == 2_058_979
    model.compile(optimizer=keras.optimizers.RMSprop(1e-3), loss="sparse_categorical_crossentropy")
    images, masks = np.float32(split.images), split.masks[..., None].astype(np.int32)
    tiled = tensorflow.data.Dataset.from_tensors((images, masks)).repeat().prefetch(1)
    model.fit(tiled, steps_per_epoch=200, epochs=1, verbose=0, callbacks=[watch])
    return watch.pace.images_per_second(BATCH)
