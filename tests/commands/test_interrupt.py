"""Ctrl-C in a command that keeps no state of its own."""


def test_ctrl_c_is_one_line(refused, monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("saliencymixplus.datasets.cache.downloaded", stop)
    assert refused("download", culprit="interrupted").code == 130
