from lightning import Callback


class ConfusionPicture(Callback):
    pass
