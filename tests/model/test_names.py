import os

from blockskim.model.names import base_name


def test_a_directory_is_called_by_its_own_name_and_a_hub_id_stays_whole(tmp_path, monkeypatch):
    (tmp_path / "deep" / "model").mkdir(parents=True)
    assert base_name(tmp_path / "deep" / "model") == base_name(f"{tmp_path}/deep/model/") == "model"
    monkeypatch.chdir(tmp_path / "deep" / "model")
    assert base_name(".") == base_name(os.curdir) == "model"
    assert base_name("someone/model") == "someone/model"
