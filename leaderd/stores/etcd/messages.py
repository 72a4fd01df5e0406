"""Between the plain data of `wire` and protobuf messages, both ways. What etcd sends is checked here for its shape."""

from __future__ import annotations

from leaderd.stores.etcd._proto import leaderd_etcd_subset_pb2 as pb
from leaderd.stores.etcd.wire import (
    Compare,
    Delete,
    Found,
    Get,
    Header,
    KeyValue,
    Put,
    Txn,
    TxnReply,
    WatchCancel,
    WatchCreate,
    WatchEvent,
    WatchMessage,
)

_RESULTS = {"=": pb.Compare.EQUAL, "!=": pb.Compare.NOT_EQUAL, "<": pb.Compare.LESS, ">": pb.Compare.GREATER}


def txn_request(txn: Txn) -> pb.TxnRequest:
    """A transaction as etcd wants it."""
    return pb.TxnRequest(
        compare=[_compare(c) for c in txn.compares],
        success=[_request(op) for op in txn.success],
        failure=[_request(op) for op in txn.failure],
    )


def txn_reply(message: pb.TxnResponse, txn: Txn) -> TxnReply:
    """The answer to `txn`. Raises `ValueError` when it does not have the shape the request calls for."""
    branch = txn.success if message.succeeded else txn.failure
    if len(branch) != len(message.responses):
        raise ValueError(f"{len(message.responses)} results for {len(branch)} requests")
    results = tuple(_result(op, response) for op, response in zip(branch, message.responses, strict=True))
    return TxnReply(header(message.header), message.succeeded, results)


def header(message: pb.ResponseHeader) -> Header:
    """Who answered."""
    return Header(message.cluster_id, message.member_id, message.revision, message.raft_term)


def watch_request(request: WatchCreate | WatchCancel) -> pb.WatchRequest:
    """A request of the watch stream as etcd wants it. Progress notices let an idle watch survive a compaction."""
    if isinstance(request, WatchCancel):
        return pb.WatchRequest(cancel_request=pb.WatchCancelRequest(watch_id=request.watch_id))
    create = pb.WatchCreateRequest(
        key=request.key,
        range_end=request.range_end,
        start_revision=request.start_revision,
        watch_id=request.watch_id,
        progress_notify=True,
    )
    if request.deletes_only:
        create.filters.append(pb.WatchCreateRequest.NOPUT)
    return pb.WatchRequest(create_request=create)


def watch_message(message: pb.WatchResponse) -> WatchMessage:
    """One message of the watch stream."""
    return WatchMessage(
        header(message.header),
        message.watch_id,
        created=message.created,
        canceled=message.canceled,
        compact_revision=message.compact_revision,
        cancel_reason=message.cancel_reason,
        events=tuple(WatchEvent(e.type == pb.Event.DELETE, _key_value(e.kv)) for e in message.events),
    )


def _compare(compare: Compare) -> pb.Compare:
    message = pb.Compare(key=compare.key, range_end=compare.range_end, result=_RESULTS[compare.result])
    if compare.target == "value":
        assert isinstance(compare.operand, bytes)
        message.target = pb.Compare.VALUE
        message.value = compare.operand
        return message
    assert isinstance(compare.operand, int)
    if compare.target == "create":
        message.target = pb.Compare.CREATE
        message.create_revision = compare.operand
    elif compare.target == "mod":
        message.target = pb.Compare.MOD
        message.mod_revision = compare.operand
    else:
        message.target = pb.Compare.LEASE
        message.lease = compare.operand
    return message


def _request(op: Get | Put | Delete | Txn) -> pb.RequestOp:
    match op:
        case Get():
            order = pb.RangeRequest.DESCEND if op.newest_first else pb.RangeRequest.ASCEND
            return pb.RequestOp(
                request_range=pb.RangeRequest(
                    key=op.key,
                    range_end=op.range_end,
                    limit=op.limit,
                    sort_order=order if op.range_end else pb.RangeRequest.NONE,
                    sort_target=pb.RangeRequest.CREATE,
                    keys_only=op.keys_only,
                    max_create_revision=op.max_create_revision,
                )
            )
        case Put():
            return pb.RequestOp(request_put=pb.PutRequest(key=op.key, value=op.value, lease=op.lease))
        case Delete():
            return pb.RequestOp(request_delete_range=pb.DeleteRangeRequest(key=op.key))
        case Txn():
            return pb.RequestOp(request_txn=txn_request(op))


def _result(op: Get | Put | Delete | Txn, message: pb.ResponseOp) -> Found | TxnReply | None:
    kind = message.WhichOneof("response")
    if isinstance(op, Get):
        if kind != "response_range":
            raise ValueError(f"{kind} in answer to a range request")
        found = message.response_range
        return Found(tuple(_key_value(kv) for kv in found.kvs), found.more)
    if isinstance(op, Txn):
        if kind != "response_txn":
            raise ValueError(f"{kind} in answer to a nested transaction")
        return txn_reply(message.response_txn, op)
    return None


def _key_value(kv: pb.KeyValue) -> KeyValue:
    return KeyValue(kv.key, kv.create_revision, kv.mod_revision, kv.lease, kv.value)
