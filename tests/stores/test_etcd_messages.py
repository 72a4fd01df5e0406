"""The conversions between etcd's messages and plain data."""

from __future__ import annotations

import pytest

from leaderd.stores.etcd import messages
from leaderd.stores.etcd._proto import leaderd_etcd_subset_pb2 as pb
from leaderd.stores.etcd.wire import Compare, Delete, Found, Get, KeyValue, Put, Txn, WatchCancel, WatchCreate


def test_the_package_is_our_own() -> None:
    assert pb.DESCRIPTOR.package == "leaderd.stores.etcd.subset"
    assert not pb.DESCRIPTOR.services_by_name


def test_a_transaction_reaches_the_wire_as_etcd_numbers_it() -> None:
    txn = Txn(
        (Compare(b"k", "create", ">", 4, b"l"), Compare(b"m", "value", "<", b"v"), Compare(b"k", "lease", "=", 7)),
        (Put(b"m", b"v", 7), Txn((), (Delete(b"d"),)), Get(b"k", b"l", limit=2, newest_first=True, max_create_revision=3)),
        (Get(b"k", keys_only=False),),
    )
    message = messages.txn_request(txn)
    assert [c.WhichOneof("target_union") for c in message.compare] == ["create_revision", "value", "lease"]
    assert message.compare[0].SerializeToString() == b"\x08\x01\x10\x01\x1a\x01k\x28\x04\x82\x04\x01l"
    assert message.success[1].request_txn.success[0].request_delete_range.key == b"d"
    ranged = message.success[2].request_range
    assert (ranged.sort_order, ranged.sort_target, ranged.keys_only) == (pb.RangeRequest.DESCEND, pb.RangeRequest.CREATE, True)
    assert message.failure[0].request_range.sort_order == pb.RangeRequest.NONE


def test_an_answer_comes_back_in_the_shape_of_its_request() -> None:
    txn = Txn((), (Put(b"a", b"b"), Get(b"k"), Txn((), (Get(b"n"),))), (Get(b"k"),))
    reply = pb.TxnResponse(succeeded=True, header=pb.ResponseHeader(cluster_id=1 << 63, revision=9))
    reply.responses.add().response_put.SetInParent()
    kv = pb.KeyValue(key=b"k", create_revision=3, mod_revision=4, lease=5, value=b"v")
    reply.responses.add().response_range.CopyFrom(pb.RangeResponse(kvs=[kv], more=True))
    nested = reply.responses.add().response_txn
    nested.succeeded = True
    nested.responses.add().response_range.SetInParent()
    read = messages.txn_reply(reply, txn)
    assert read.header.cluster_id == 1 << 63
    assert read.results[1] == Found((KeyValue(b"k", 3, 4, 5, b"v"),), True)
    with pytest.raises(ValueError, match="3 results for 1 requests"):
        messages.txn_reply(pb.TxnResponse(succeeded=False, responses=reply.responses), txn)
    for swapped in ((0, 1), (2, 1), (1, 2)):
        wrong = pb.TxnResponse(succeeded=True, responses=reply.responses)
        wrong.responses[swapped[1]].CopyFrom(reply.responses[swapped[0]])
        with pytest.raises(ValueError, match="in answer to"):
            messages.txn_reply(wrong, txn)


def test_watch_messages() -> None:
    create = messages.watch_request(WatchCreate(3, b"k", 8, deletes_only=True)).create_request
    assert (create.watch_id, create.start_revision, list(create.filters)) == (3, 8, [pb.WatchCreateRequest.NOPUT])
    assert create.progress_notify
    assert messages.watch_request(WatchCancel(3)).cancel_request.watch_id == 3
    event = pb.Event(type=pb.Event.DELETE, kv=pb.KeyValue(key=b"k", mod_revision=9))
    read = messages.watch_message(pb.WatchResponse(watch_id=3, events=[event], compact_revision=2))
    assert (read.watch_id, read.compact_revision) == (3, 2)
    assert read.events[0].deleted
    assert read.events[0].kv.mod_revision == 9
