from lightning import Callback


class Results(Callback):
    def __init__(self, directory):
        pass
