"""Measure the throughput of Keras on TensorFlow, with the network of its pets example and without augmentation."""

from __future__ import annotations

import os

os.environ |= {"KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}

import keras
import numpy as np
import tensorflow
from keras import layers

from benchmarks.networks import BATCH_SIZE, IMAGE_SIZE, NUM_CLASSES, create_random_split
from benchmarks.step_timer import StepTimer


def build_pets_network() -> keras.Model:
    """Build the network of Keras' pets example, which has 2,058,979 parameters."""
    images = keras.Input((IMAGE_SIZE, IMAGE_SIZE, 3))
    x = _normalize(layers.Conv2D(32, 3, strides=2, padding="same")(images))
    x = residual = layers.Activation("relu")(x)
    for filters in (64, 128, 256):
        for _ in range(2):
            x = layers.Activation("relu")(x)
            x = _normalize(layers.SeparableConv2D(filters, 3, padding="same")(x))
        x = layers.MaxPooling2D(3, strides=2, padding="same")(x)
        x = residual = layers.add([x, layers.Conv2D(filters, 1, strides=2, padding="same")(residual)])
    for filters in (256, 128, 64, 32):
        for _ in range(2):
            x = layers.Activation("relu")(x)
            x = _normalize(layers.Conv2DTranspose(filters, 3, padding="same")(x))
        residual = layers.Conv2D(filters, 1, padding="same")(layers.UpSampling2D(2)(residual))
        x = residual = layers.add([layers.UpSampling2D(2)(x), residual])
    return keras.Model(images, layers.Conv2D(NUM_CLASSES, 3, activation="softmax", padding="same")(x))


def _normalize(x: keras.KerasTensor) -> keras.KerasTensor:
    return layers.BatchNormalization()(x)


class StepTimerCallback(keras.callbacks.Callback):
    """Callback that stops the training when the measurement is complete."""

    def __init__(self) -> None:
        super().__init__()
        self.timer = StepTimer()

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        """Record a step."""
        del batch, logs
        self.model.stop_training = self.timer.record_step()


def measure_images_per_second(num_threads: int) -> float:
    """Train in float32 with RMSprop, as in Keras' example, and return the throughput."""
    tensorflow.config.threading.set_intra_op_parallelism_threads(num_threads)
    tensorflow.config.threading.set_inter_op_parallelism_threads(1)
    keras.utils.set_random_seed(0)
    split, callback, model = create_random_split(BATCH_SIZE), StepTimerCallback(), build_pets_network()
    assert model.count_params() == 2_058_979
    model.compile(optimizer=keras.optimizers.RMSprop(1e-3), loss="sparse_categorical_crossentropy")
    images = np.stack(list(split.images)).astype(np.float32)
    masks = np.stack(list(split.masks))[..., None].astype(np.int32)
    dataset = tensorflow.data.Dataset.from_tensors((images, masks)).repeat().prefetch(1)
    model.fit(dataset, steps_per_epoch=200, epochs=1, verbose=0, callbacks=[callback])
    return callback.timer.compute_images_per_second(BATCH_SIZE)
