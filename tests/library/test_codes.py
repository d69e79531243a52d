from dataclasses import fields

from PoolManagerLibrary.codes import BREAKER_FIELDS, CODES, LAST_ERROR_FIELDS, POOL_FIELDS, REPLICA_FIELDS

from pool_managerd.core import errors, status


def test_the_two_tables_of_codes_agree():
    ours = {code: (row.http, row.grpc, row.retriable) for code, row in CODES.items()}
    theirs = {str(code): (info.http_status, info.grpc_status, info.retriable) for code, info in errors.CODES.items()}
    assert ours == theirs


def test_the_fields_of_a_status_agree():
    def names(kind):
        return [field.name for field in fields(kind)]

    assert names(status.PoolStatus) == POOL_FIELDS
    assert names(status.ReplicaStatus) == REPLICA_FIELDS
    assert names(status.BreakerStatus) == BREAKER_FIELDS
    assert names(status.LastError) == LAST_ERROR_FIELDS
