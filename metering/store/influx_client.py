"""One InfluxDB 2 server through `influxdb-client`: gzipped lines out, raw CSV into Arrow back.

Requests are synchronous and made once. The client's batching mode would keep lines in memory and
drop them after five attempts; here the journal is the queue.
"""

from __future__ import annotations

import gzip
import logging
import re
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from csv import reader
from typing import Any, Final

import pyarrow as pa
from influxdb_client.client.influxdb_client import InfluxDBClient
from influxdb_client.domain.bucket_retention_rules import BucketRetentionRules
from influxdb_client.domain.dialect import Dialect
from influxdb_client.rest import ApiException
from influxdb_client.service.write_service import WriteService
from pyarrow import csv
from urllib3 import HTTPResponse

from metering.store.influx_errors import refused_line, told, translated
from metering.store.influx_schema import META, flux_time
from metering.store.port import StoreUnavailable

log = logging.getLogger(__name__)

LINES_PER_REQUEST: Final = 20_000
_FEW_LINES: Final = 5_000
"""Are not worth a second request at the same time, which takes a quarter less for 20,000."""
_GZIP_LEVEL: Final = 1
_CONNECT_TIMEOUT_S: Final = 5.0
_BLOCK_BYTES: Final = 4 << 20
_TEXT: Final = pa.dictionary(pa.int32(), pa.string())
_READ_BYTES: Final = 1 << 20
_END_BYTES: Final = 128
_END_QUERY: Final = f'; SELECT last("version") FROM {META}'
"""Asked after every InfluxQL query. Its CSV answers keep silent about errors: a bucket that is gone
or a shard that cannot be read looks like fewer rows, with status 200. But the server executes
nothing more after a query that failed."""
_END: Final = re.compile(rb"\n?name,tags,time,last\nmeta,,\d+,\d+\n\Z")


class Influx:
    """Connections to one server and organisation."""

    def __init__(self, url: str, *, org: str, token: str, timeout_s: float) -> None:
        """Connect when first asked.

        Args:
            url: Where the server is.
            org: The organisation that owns the buckets.
            token: May read, write and delete in both buckets, and make them if they are missing.
            timeout_s: How long the server may be silent. [s]
        """
        self.url = url
        self._org = org
        self._client = InfluxDBClient(
            url,
            token=token,
            org=org,
            timeout=(int(_CONNECT_TIMEOUT_S * 1000), int(timeout_s * 1000)),
            connection_pool_maxsize=16,
        )
        self._writes = WriteService(self._client.api_client)
        self._dialect = Dialect(header=True, delimiter=",", annotations=[], comment_prefix="#")
        self._posts = ThreadPoolExecutor(2, thread_name_prefix="influx")
        self._lock = threading.Lock()
        self._open = True

    def write(
        self, bucket: str, lines: Sequence[bytes], *, check: Callable[[], None] | None = None
    ) -> None:
        """Write lines of nanosecond precision, so many a request, two requests at once.

        Args:
            bucket: Where.
            lines: What.
            check: Called immediately before every request; raises to have it not made.

        Raises:
            StoreUnavailable: Some of them may have been written.
        """
        self._check_open()
        size = min(LINES_PER_REQUEST, max(_FEW_LINES, -(-len(lines) // 2)))
        parts = [lines[start : start + size] for start in range(0, len(lines), size)]
        if len(parts) == 1:
            self._write(bucket, parts[0], check)
            return
        posts = [self._posts.submit(self._write, bucket, part, check) for part in parts]
        wait(posts)
        for post in posts:
            post.result()

    def query(self, flux: str) -> pa.Table:
        """The answer to a Flux query whose tables all have the same columns.

        Raises:
            StoreUnavailable: The server did not answer, or stopped in the middle of it.
        """
        with self._doing("answer a query"):
            response = self._client.query_api().query_raw(flux, dialect=self._dialect)
            return self._parsed(_Rest(response), _kind_in_flux, response)

    def select(self, bucket: str, query: str) -> pa.Table:
        """The answer to an InfluxQL query, a row per point: `name`, `tags`, `time`, fields.

        Four times as fast as Flux where many fields of a point are wanted, on either side. The
        server knows every bucket as a database of the same name.

        Raises:
            StoreUnavailable: The server did not answer, or stopped in the middle of it.
        """
        form = {
            "db": bucket,
            "q": query + _END_QUERY,
            "epoch": "ns",
            "chunked": "true",
            "chunk_size": "10000",
        }
        with self._doing("answer a query"):
            response = self._client.api_client.call_api(
                "/query",
                "POST",
                header_params={
                    "Accept": "application/csv",
                    "Content-Type": "application/x-www-form-urlencoded",
                },
                post_params=form,
                auth_settings=[],
                _return_http_data_only=True,
                _preload_content=False,
            )
            rest = _Rest(response, end=_END)
            table = self._parsed(rest, _kind_in_influxql, response)
        if not rest.is_whole:
            raise self._broken(f"the bucket {bucket} is missing, was made anew or cannot be read")
        return table

    def delete(self, bucket: str, low_ns: int, high_ns: int, predicate: str = "") -> None:
        """Delete low <= time < high; the server's own end is included, so it is one before.

        Args:
            bucket: Where.
            low_ns: Start. [ns]
            high_ns: End. [ns]
            predicate: Equalities of tags joined by AND; there is no OR.
        """
        with self._doing(f"delete from bucket {bucket}"):
            self._client.delete_api().delete(
                flux_time(low_ns), flux_time(high_ns - 1), predicate, bucket, self._org
            )

    def ensure_bucket(self, bucket: str, *, shard_days: int) -> None:
        """Make a bucket that keeps everything, if it is not there."""
        with self._doing(f"make the bucket {bucket}"):
            buckets = self._client.buckets_api()
            if buckets.find_bucket_by_name(bucket) is not None:
                return
            forever = BucketRetentionRules(
                every_seconds=0, shard_group_duration_seconds=shard_days * 86_400
            )
            try:
                buckets.create_bucket(bucket_name=bucket, retention_rules=forever, org=self._org)
            except ApiException as error:
                if error.status == 422 and buckets.find_bucket_by_name(bucket) is not None:
                    return  # another process was faster
                raise
            log.info("store: made the bucket %s in InfluxDB", bucket)

    def close(self) -> None:
        """Let go of the connections."""
        with self._lock:
            if self._open:
                self._open = False
                self._posts.shutdown()
                self._writes.api_client.rest_client.pool_manager.clear()
                self._client.close()

    def _write(self, bucket: str, lines: Sequence[bytes], check: Callable[[], None] | None) -> None:
        body = gzip.compress(b"\n".join(lines), _GZIP_LEVEL)
        if check is not None:
            check()
        with self._doing(f"write to bucket {bucket}"):
            try:
                self._writes.post_write(
                    org=self._org,
                    bucket=bucket,
                    body=body,
                    precision="ns",
                    content_encoding="gzip",
                    content_type="text/plain; charset=utf-8",
                )
            except ApiException as error:
                if error.status not in (400, 422):
                    raise
                line = refused_line(error, lines)
                shown = line[:300].decode("utf-8", "replace") if line else "not found"
                doing = f"write {len(lines)} lines to bucket {bucket}"
                log.error("store: InfluxDB refused a line of ours: %s", shown)
                raise StoreUnavailable(
                    f"{told(self.url, doing, error)} The line: {shown}"
                ) from error

    def _parsed(
        self, rest: _Rest, kind_of: Callable[[int, str], pa.DataType], response: HTTPResponse
    ) -> pa.Table:
        """CSV as it comes, by blocks on several threads; text columns are coded."""
        odd: list[str] = []

        def not_a_row(row: csv.InvalidRow) -> str:
            odd.append(row.text)
            return "skip"

        try:
            names = rest.header()
            if not names:
                return pa.table({})
            columns = [str(i) for i in range(len(names))]  # names of fields may be anything
            kinds = [kind_of(i, name) for i, name in enumerate(names)]
            table = csv.read_csv(
                rest,
                read_options=csv.ReadOptions(block_size=_BLOCK_BYTES, column_names=columns),
                parse_options=csv.ParseOptions(invalid_row_handler=not_a_row),
                convert_options=csv.ConvertOptions(
                    column_types=dict(zip(columns, kinds, strict=True))
                ),
            )
        except pa.ArrowInvalid as error:
            raise self._broken(str(error)) from error
        finally:
            response.drain_conn()
            response.release_conn()
        if odd:
            raise self._broken(" ".join(odd))
        return table.rename_columns(names).unify_dictionaries()

    def _broken(self, why: str) -> StoreUnavailable:
        return StoreUnavailable(
            f"InfluxDB at {self.url} broke off an answer: {' '.join(why.split())[:300]}. "
            f"Ask again; if it stays so, look into its log."
        )

    def _check_open(self) -> None:
        if not self._open:
            raise StoreUnavailable(f"The store at {self.url} was closed; open it again.")

    def _doing(self, doing: str) -> Any:  # noqa: ANN401 - a context manager
        self._check_open()
        return translated(self.url, doing)


def _kind_in_flux(place: int, name: str) -> pa.DataType:
    kinds = {"_time": pa.timestamp("ns", tz="UTC"), "_value": pa.float64()}
    return kinds.get(name, _TEXT)


def _kind_in_influxql(place: int, name: str) -> pa.DataType:
    """Its columns are the measurement, the tags, the time and then fields of any name."""
    return (_TEXT, _TEXT, pa.int64())[place] if place < 3 else pa.float64()


class _Rest:
    """A response as a file for Arrow, without its first line and what must stand at its end."""

    closed = False

    def __init__(self, response: HTTPResponse, *, end: re.Pattern[bytes] | None = None) -> None:
        self._response, self._end = response, end
        self._front = b""
        self._held = b""
        self._ended = False
        self.is_whole = end is None
        """Whether the end that was expected has come."""

    def header(self) -> list[str]:
        """The names of the columns; none if there are no rows."""
        first = b""
        while b"\n" not in first and (more := self.read(_READ_BYTES)):
            first += more
        line, _, self._front = first.partition(b"\n")
        return next(reader([line.decode().rstrip("\r")]), [])

    def read(self, size: int = -1) -> bytes:
        """The next bytes, at most so many; all that are left if negative."""
        if self._front:
            front, self._front = self._front, b""
            if 0 <= size < len(front):
                front, self._front = front[:size], front[size:]
            return front + (self.read() if size < 0 else b"")
        while not self._ended and (size < 0 or len(self._held) <= _END_BYTES):
            if more := self._response.read(_READ_BYTES):
                self._held += more
                continue
            self._ended = True
            if self._end is not None and (found := self._end.search(self._held[-_END_BYTES:])):
                self._held = self._held[: len(self._held) - len(found[0])]
                self.is_whole = True
        ready = len(self._held) if self._ended else max(len(self._held) - _END_BYTES, 0)
        if size >= 0:
            ready = min(ready, size)
        taken, self._held = self._held[:ready], self._held[ready:]
        return taken
