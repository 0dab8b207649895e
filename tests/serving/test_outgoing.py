"""What waits for a worker: in order, but for what may pass; and nothing that was taken back."""

import threading

from blockskim.serving.outgoing import Outgoing


def test_requests_stay_in_order_and_others_pass_them():
    outgoing = Outgoing()
    for number in (3, 1, 2):
        outgoing.put_request(number, {"id": number})
    outgoing.put_first({"ping": True})
    outgoing.put_first({"cancel": 7})
    found = [outgoing.get() for _ in range(5)]
    assert found == [{"ping": True}, {"cancel": 7}, {"id": 3}, {"id": 1}, {"id": 2}]


def test_a_request_can_be_taken_back_until_it_is_taken():
    outgoing = Outgoing()
    for number in (1, 2, 3):
        outgoing.put_request(number, {"id": number})
    assert outgoing.get() == {"id": 1}
    assert not outgoing.drop(1)
    assert outgoing.drop(2)
    assert not outgoing.drop(2)
    outgoing.put_first(None)
    assert [outgoing.get(), outgoing.get()] == [None, {"id": 3}]


def test_who_waits_gets_what_comes():
    outgoing, found = Outgoing(), []
    thread = threading.Thread(target=lambda: found.append(outgoing.get()), daemon=True)
    thread.start()
    outgoing.put_request(1, {"id": 1})
    thread.join(30)
    assert found == [{"id": 1}]
