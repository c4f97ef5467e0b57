from lightning import Callback


class TrainingPictures(Callback):
    pass
