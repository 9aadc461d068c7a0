"""The rules of 9P2000, Plan 9's manual section 5, one by one; bytes in, bytes out, no sockets."""

from __future__ import annotations

import struct

import pytest

from snaptui.engine.errors import NotCaptured
from snaptui.engine.serve.ninep.errors import Malformed
from snaptui.engine.serve.nodes import Link
from tests.serve import ninep
from tests.serve.ninep import Bytes, Folder, Gate, SessionClient

DIRECTORY_QID = struct.Struct("<BIQ")


def begun(*more: ninep.Node, msize: int = 8192) -> SessionClient:
    client = SessionClient(ninep.tree(*more))
    assert client.begin(msize) == msize
    return client


def version(answer: ninep.Answer) -> tuple[int, bytes]:
    assert answer.kind == ninep.RVERSION
    return int.from_bytes(answer.body[:4], "little"), answer.body[6:]


# version(5)


def test_version_is_answered_as_the_manual_spells_it() -> None:
    session = SessionClient().session
    request = bytes.fromhex("13000000 64 ffff 00200000 0600") + b"9P2000"
    assert b"".join(session.respond(session.start(request))) == (
        bytes.fromhex("13000000 65 ffff 00200000 0600") + b"9P2000"
    )


@pytest.mark.parametrize("offer", ["9P2000", "9P2000.u", "9P2000.L", "9P2000.whatever"])
def test_variants_of_the_version_are_answered_with_the_plain_one(offer: str) -> None:
    assert version(SessionClient().ask(ninep.tversion(version=offer))) == (8192, b"9P2000")


@pytest.mark.parametrize("offer", ["", "9P", "9P1999", "9P20001", "9P2000u", "xyz", "unknown"])
def test_other_versions_are_unknown_and_nothing_goes_on_from_there(offer: str) -> None:
    client = SessionClient()
    assert version(client.ask(ninep.tversion(version=offer)))[1] == b"unknown"
    assert client.ask(ninep.tattach(1, 0)).error == "9P protocol botch"
    client.begin()


@pytest.mark.parametrize(
    "offered, agreed",
    [(256, 256), (8192, 8192), (65536, 65536), (1 << 20, 1 << 20), ((1 << 20) + 24, (1 << 20) + 24)],
)
def test_msize_is_what_the_client_offers(offered: int, agreed: int) -> None:
    assert version(SessionClient().ask(ninep.tversion(offered))) == (agreed, b"9P2000")


def test_msize_has_a_ceiling() -> None:
    assert version(SessionClient().ask(ninep.tversion(0xFFFFFFFF))) == ((1 << 20) + 24, b"9P2000")


@pytest.mark.parametrize("offered", [0, 1, 24, 255])
def test_msize_below_the_floor_is_refused(offered: int) -> None:
    client = SessionClient()
    assert client.ask(ninep.tversion(offered)).error == "Tversion: message size too small"
    assert client.ask(ninep.tattach(1, 0)).error == "9P protocol botch"


def test_new_version_drops_all_fids_and_requests() -> None:
    gate = Gate("slow", 90)
    client = begun(gate)
    client.open(1, "slow")
    pending = client.session.start(ninep.tread(7, 1, 0, 4))
    gate.open.set()
    client.must(ninep.tversion(4096))
    pending.perform()
    assert client.session.respond(pending) == ()
    assert client.ask(ninep.tstat(1, 0)).error == "unknown fid"
    assert client.ask(ninep.tclunk(7, 1)).error == "unknown fid"
    client.must(ninep.tattach(7, 0))


def test_version_comes_first() -> None:
    client = SessionClient()
    for request in (ninep.tattach(1, 0), ninep.tread(1, 0, 0, 1), ninep.tflush(1, 2), ninep.tauth(1, 1)):
        assert client.ask(request).error == "9P protocol botch"


# intro(5): tags


def test_notag_is_for_version_only() -> None:
    client = begun()
    answer = client.ask(ninep.tstat(ninep.NOTAG, 0))
    assert (answer.error, answer.tag) == ("9P protocol botch", ninep.NOTAG)
    client.must(ninep.tversion(tag=5))  # "the client can use it": it need not


def test_tag_of_a_request_under_way_is_refused_and_that_request_is_answered() -> None:
    gate = Gate("slow", 90)
    client = begun(gate)
    client.open(1, "slow")
    pending = client.session.start(ninep.tread(7, 1, 0, 4))
    assert client.ask(ninep.tstat(7, 0)).error == "duplicate tag"
    assert client.ask(ninep.tflush(7, 3)).error == "duplicate tag"
    gate.open.set()
    pending.perform()
    assert ninep.unpack(b"".join(client.session.respond(pending))).data == b"slow"
    client.must(ninep.tstat(7, 0))


@pytest.mark.parametrize("kind", [0, 98, 99, 101, ninep.TERROR, ninep.RERROR, ninep.RREAD, 127, 128, 255])
def test_types_that_no_client_sends_are_answered_with_an_error(kind: int) -> None:
    client = begun()
    assert client.ask(ninep.message(kind, 3, b"anything")).error == "unknown message"
    client.stat(0)


# attach(5)


def test_auth_is_not_needed() -> None:
    assert begun().ask(ninep.tauth(1, 9)).error == "authentication not required"


def test_attach_gives_the_root() -> None:
    client = begun()
    assert client.must(ninep.tattach(1, 5)).body == DIRECTORY_QID.pack(0x80, 0, 1)
    assert client.stat(5).name == "/"
    client.must(ninep.tattach(1, 6, aname="/"))


def test_attach_refuses_what_makes_no_sense() -> None:
    client = begun()
    assert client.ask(ninep.tattach(1, 0)).error == "duplicate fid"
    assert client.ask(ninep.tattach(1, ninep.NOFID)).error == "unknown fid"
    assert client.ask(ninep.tattach(1, 5, afid=0)).error == "unknown fid"
    assert client.ask(ninep.tattach(1, 5, aname="other")).error == "unknown specifier in attach"
    assert client.ask(ninep.tstat(1, 5)).error == "unknown fid"


# walk(5)


def qids(answer: ninep.Answer) -> list[tuple[int, int]]:
    (count,) = struct.unpack_from("<H", answer.body)
    assert len(answer.body) == 2 + 13 * count
    found = [DIRECTORY_QID.unpack_from(answer.body, 2 + 13 * index) for index in range(count)]
    assert all(vers == 0 for _, vers, _ in found)
    return [(kind, path) for kind, _, path in found]


def test_walk_gives_a_qid_for_each_name() -> None:
    client = begun()
    answer = client.must(ninep.twalk(1, 0, 1, "1", "task", "2", "regs"))
    assert qids(answer) == [(0x80, 10), (0x80, 11), (0x80, 12), (0, 13)]
    assert client.stat(1).name == "regs"
    assert client.stat(0).name == "/"


def test_walk_without_names_copies_a_fid() -> None:
    client = begun()
    assert qids(client.must(ninep.twalk(1, 0, 1))) == []
    assert client.stat(1).name == "/"
    client.must(ninep.twalk(1, 0, 2, "text"))
    client.must(ninep.twalk(1, 2, 3))
    assert client.stat(3).name == "text"
    assert qids(client.must(ninep.twalk(1, 3, 3))) == []


def test_walk_that_ends_early_says_how_far_it_came_and_makes_no_fid() -> None:
    client = begun()
    answer = client.must(ninep.twalk(1, 0, 1, "1", "task", "nothing", "regs"))
    assert qids(answer) == [(0x80, 10), (0x80, 11)]
    assert client.ask(ninep.tstat(1, 1)).error == "unknown fid"
    answer = client.must(ninep.twalk(1, 0, 1, "text", "more"))  # from a file nothing leads on
    assert qids(answer) == [(0, 3)]
    answer = client.must(ninep.twalk(1, 0, 0, "1", "nothing"))  # and the same fid stays where it was
    assert qids(answer) == [(0x80, 10)]
    assert client.stat(0).name == "/"


def test_walk_whose_first_name_is_not_there_is_an_error() -> None:
    client = begun()
    for name in ("nothing", "", ".", "1/task", "te", "text ", "text\\x00"):
        assert client.ask(ninep.twalk(1, 0, 1, name)).error == "file not found"
    client.must(ninep.twalk(1, 0, 1, "text"))
    assert client.ask(ninep.twalk(1, 1, 2, "more")).error == "walk in non-directory"
    assert client.ask(ninep.twalk(1, 1, 2, "..")).error == "walk in non-directory"


def test_walk_up_goes_to_the_parent_and_stays_in_the_root() -> None:
    client = begun()
    answer = client.must(ninep.twalk(1, 0, 1, "1", "task", "..", "..", "..", "..", "1", "note"))
    assert [path for _, path in qids(answer)] == [10, 11, 10, 1, 1, 1, 10, 14]
    client.must(ninep.twalk(1, 0, 2, "1", "task"))
    client.must(ninep.twalk(1, 2, 2, ".."))  # the same fid, moved
    assert client.stat(2).name == "1"


def test_walk_takes_sixteen_names_and_no_more() -> None:
    client = begun()
    answer = client.must(ninep.twalk(1, 0, 1, *["1", ".."] * 8))
    assert len(qids(answer)) == 16
    assert client.ask(ninep.twalk(1, 0, 2, *["1", ".."] * 8, "1")).error == "too many names in walk"
    client.stat(1)


def test_walk_to_a_fid_in_use_is_refused() -> None:
    client = begun()
    client.must(ninep.twalk(1, 0, 1, "text"))
    assert client.ask(ninep.twalk(1, 0, 1, "1")).error == "duplicate fid"
    assert client.stat(1).name == "text"
    assert client.ask(ninep.twalk(1, 9, 2)).error == "unknown fid"
    assert client.ask(ninep.twalk(1, 0, ninep.NOFID)).error == "unknown fid"


def test_walk_from_an_open_fid_is_refused() -> None:
    client = begun()
    client.open(1, "1")
    for newfid in (1, 2):
        assert client.ask(ninep.twalk(1, 1, newfid, "task")).error == "cannot clone open fid"
        assert client.ask(ninep.twalk(1, 1, newfid)).error == "cannot clone open fid"


def test_fids_have_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("snaptui.engine.serve.ninep.state.MAX_FIDS", 3)
    client = begun()
    client.must(ninep.twalk(1, 0, 1))
    client.must(ninep.twalk(1, 0, 2))
    assert client.ask(ninep.twalk(1, 0, 3)).error == "too many fids"
    assert client.ask(ninep.tattach(1, 3)).error == "too many fids"
    client.must(ninep.tclunk(1, 2))
    client.must(ninep.twalk(1, 0, 3))


def test_names_that_are_not_utf8_are_served_escaped() -> None:
    odd = Bytes("caf\udce9", 80, b"latin")
    client = begun(odd, Bytes("naïve", 81, b"utf-8"))
    client.open(1, "")
    assert {"caf\\xe9", "naïve"} <= {entry.name for entry in client.list(1)}
    for fid, (name, content) in enumerate({"caf\\xe9": b"latin", "naïve": b"utf-8"}.items(), 2):
        client.open(fid, name)
        assert client.must(ninep.tread(1, fid, 0, 99)).data == content


@pytest.mark.parametrize("name", [b"caf\xe9", b"te\xff", b"text\0", b"\0", b"text\0more"])
def test_names_that_no_file_can_have_are_not_found(name: bytes) -> None:
    client = begun()
    assert client.ask(ninep.twalk(1, 0, 1, name)).error == "file not found"
    client.stat(0)


# open(5)


def test_open_gives_the_qid_and_the_largest_read() -> None:
    client = begun(msize=65536)
    client.must(ninep.twalk(1, 0, 1, "text"))
    assert client.must(ninep.topen(1, 1)).body == struct.pack("<BIQI", 0, 0, 3, 65536 - 24)
    assert client.ask(ninep.topen(1, 1)).error == "9P protocol botch"
    assert client.ask(ninep.topen(1, 9)).error == "unknown fid"


@pytest.mark.parametrize(
    "mode, error",
    [
        (ninep.OREAD, ""),
        (ninep.OREAD | ninep.OCEXEC, ""),
        (ninep.OWRITE, "permission denied"),
        (ninep.ORDWR, "permission denied"),
        (ninep.OEXEC, "permission denied"),
        (ninep.OREAD | ninep.OTRUNC, "permission denied"),
        (ninep.OREAD | ninep.ORCLOSE, "permission denied"),
        (0x80, "illegal mode"),
        (0x04, "illegal mode"),
    ],
)
def test_files_are_opened_for_reading_only(mode: int, error: str) -> None:
    client = begun()
    client.must(ninep.twalk(1, 0, 1, "text"))
    assert client.ask(ninep.topen(1, 1, mode)).error == error
    if error:  # the fid stays as it was
        client.must(ninep.topen(1, 1))


def test_only_what_is_executable_is_opened_for_execution() -> None:
    client = begun()
    client.must(ninep.twalk(1, 0, 1, "program"))
    client.must(ninep.topen(1, 1, ninep.OEXEC))
    assert client.must(ninep.tread(1, 1, 0, 9)).data == b"#!"


@pytest.mark.parametrize("mode", [ninep.OWRITE, ninep.ORDWR, ninep.OEXEC])
def test_directories_are_opened_for_reading_only(mode: int) -> None:
    client = begun()
    assert client.ask(ninep.topen(1, 0, mode)).error == "is a directory"
    assert client.ask(ninep.topen(1, 0, ninep.ORCLOSE)).error == "permission denied"
    client.must(ninep.topen(1, 0))


# read(5): files


def test_reads_give_the_bytes_asked_for() -> None:
    client = begun()
    client.open(1, "text")
    size = len(ninep.TEXT)
    for offset, count in [(0, 1), (0, 64), (255, 2), (4096, 4096), (size - 1, 1)]:
        assert client.must(ninep.tread(1, 1, offset, count)).data == ninep.TEXT[offset : offset + count]
    assert client.must(ninep.tread(1, 1, size - 5, 64)).data == ninep.TEXT[-5:]
    for offset in (size, size + 1, 1 << 40, (1 << 63) - 1, 1 << 63, (1 << 64) - 1):
        assert client.must(ninep.tread(1, 1, offset, 64)).data == b""
    assert client.must(ninep.tread(1, 1, 0, 0)).data == b""


@pytest.mark.parametrize("msize", [256, 8192])
def test_reads_are_cut_to_msize(msize: int) -> None:
    client = begun(msize=msize)
    client.open(1, "text")
    for count in (msize - 24, msize - 23, msize, 1 << 31, 0xFFFFFFFF):
        assert client.must(ninep.tread(1, 1, 0, count)).data == ninep.TEXT[: msize - 24]


def test_reads_of_fids_that_are_not_open_are_refused() -> None:
    client = begun()
    client.must(ninep.twalk(1, 0, 1, "text"))
    assert client.ask(ninep.tread(1, 1, 0, 1)).error == "9P protocol botch"
    assert client.ask(ninep.tread(1, 0, 0, 1)).error == "9P protocol botch"
    assert client.ask(ninep.tread(1, 9, 0, 1)).error == "unknown fid"


class Broken(Bytes):
    """A file whose reads fail."""

    def __init__(self, error: Exception) -> None:
        super().__init__("broken", 90, b"12345678")
        self.error = error

    def read(self, offset: int, count: int) -> bytes:  # noqa: ARG002
        raise self.error


@pytest.mark.parametrize(
    "error, told",
    [
        (NotCaptured("0x7f00 is not captured: a device"), "0x7f00 is not captured: a device"),
        (OSError(5, "Input/output error"), "i/o error: Input/output error"),
        (NotCaptured("é" * 100), "é" * 64),  # at most ERRMAX bytes, and no half character
        (NotCaptured("a\0b\udcff"), "a b?"),
    ],
)
def test_reads_that_fail_say_why(error: Exception, told: str) -> None:
    client = begun(Broken(error))
    client.open(1, "broken")
    assert client.ask(ninep.tread(1, 1, 0, 1)).error == told
    client.stat(1)


def test_file_that_gives_too_much_is_cut() -> None:
    class Generous(Bytes):
        def read(self, offset: int, count: int) -> bytes:  # noqa: ARG002
            return self.data

    client = begun(Generous("generous", 90, b"x" * 10_000))
    client.open(1, "generous")
    assert client.must(ninep.tread(1, 1, 0, 10)).data == b"x" * 10


def test_link_is_a_file_that_holds_its_target() -> None:
    client = begun(Link("odd", 90, ninep.ORIGIN, "/caf\udce9"))
    client.open(1, "link")
    stat = client.stat(1)
    assert (stat.qid, stat.mode, stat.length) == ((0, 0, 5), 0o444, 15)
    assert client.must(ninep.tread(1, 1, 0, 99)).data == b"../to/somewhere"
    assert client.must(ninep.tread(1, 1, 3, 2)).data == b"to"
    client.open(2, "odd")
    assert client.must(ninep.tread(1, 2, 0, 99)).data == b"/caf\xe9"
    assert client.stat(2).length == 5


# read(5): directories

NAMES = [f"{'n' * (index % 30)}{index}" for index in range(100)]


def many() -> SessionClient:
    return begun(Folder("many", 90, [Bytes(name, 100 + index, b"") for index, name in enumerate(NAMES)]))


@pytest.mark.parametrize("count", [100, 131, 200, 1000, 8192])
def test_directory_reads_end_at_the_border_of_an_entry(count: int) -> None:
    client = many()
    client.open(1, "many")
    assert [entry.name for entry in client.list(1, count)] == NAMES
    assert [entry.name for entry in client.list(1, count)] == NAMES  # and again, from offset 0


def test_directory_reads_go_on_where_the_last_one_ended() -> None:
    client = many()
    client.open(1, "many")
    first = client.must(ninep.tread(1, 1, 0, 300)).data
    assert 0 < len(first) <= 300
    for offset in (1, len(first) - 1, len(first) + 1, 1 << 63):
        assert client.ask(ninep.tread(1, 1, offset, 300)).error == "bad offset in directory read"
    second = client.must(ninep.tread(1, 1, len(first), 300)).data
    assert client.ask(ninep.tread(1, 1, len(first), 300)).error == "bad offset in directory read"
    assert client.must(ninep.tread(1, 1, 0, 300)).data == first
    assert client.must(ninep.tread(1, 1, len(first), 300)).data == second


@pytest.mark.parametrize("count", [0, 1, 2, 48, 60])
def test_count_too_small_for_an_entry_is_an_error_and_not_the_end(count: int) -> None:
    client = many()
    client.open(1, "many")
    assert client.ask(ninep.tread(1, 1, 0, count)).error == "i/o count too small"
    assert [entry.name for entry in client.list(1)] == NAMES
    end = sum(len(name) + 49 + 6 + 6 + 3 for name in NAMES)  # stat(5): 49 bytes, and four names
    assert client.must(ninep.tread(1, 1, end, count)).data == b""


def test_empty_directory_reads_as_nothing() -> None:
    client = begun()
    client.open(1, "empty")
    assert client.must(ninep.tread(1, 1, 0, 8192)).data == b""


# stat(5)


def test_stat_of_a_file() -> None:
    client = begun()
    client.must(ninep.twalk(1, 0, 1, "text"))
    when = 1_000_000_000
    assert client.stat(1) == ninep.Stat(
        (0, 0, 3), 0o444, when, when, len(ninep.TEXT), "text", "glenda", "sys", "glenda"
    )


def test_stat_of_directories() -> None:
    client = begun()
    root = client.stat(0)
    assert (root.qid, root.mode, root.length, root.name) == ((0x80, 0, 1), 0x80000000 | 0o555, 0, "/")
    client.must(ninep.twalk(1, 0, 1, "1", "task"))
    assert (client.stat(1).qid, client.stat(1).name) == ((0x80, 0, 11), "task")
    assert client.ask(ninep.tstat(1, 9)).error == "unknown fid"


def test_directory_entries_are_the_stats_of_the_files() -> None:
    client = begun()
    client.open(1, "")
    for fid, entry in enumerate(client.list(1), 2):
        client.must(ninep.twalk(1, 0, fid, entry.name))
        assert client.stat(fid) == entry


def test_numbers_too_large_for_stat_are_cut() -> None:
    giant = Bytes("mem", 90, b"")
    giant.size = 0xFFFFFFFFFF601000
    giant.mtime = 1 << 40
    client = begun(giant)
    client.must(ninep.twalk(1, 0, 1, "mem"))
    assert (client.stat(1).length, client.stat(1).mtime) == ((1 << 63) - 1, 0xFFFFFFFF)


def test_answer_that_does_not_fit_msize_is_an_error() -> None:
    client = begun(Bytes("n" * 250, 90, b""), msize=256)
    client.must(ninep.twalk(1, 0, 1, "n" * 250))
    assert client.ask(ninep.tstat(1, 1)).error == "answer does not fit msize"


# flush(5)


def test_flushed_request_is_never_answered() -> None:
    gate = Gate("slow", 90)
    client = begun(gate)
    client.open(1, "slow")
    pending = client.session.start(ninep.tread(7, 1, 0, 4))
    client.must(ninep.tflush(8, 7))
    again = client.session.start(ninep.tread(7, 1, 0, 2))  # the tag is free again at once
    gate.open.set()
    pending.perform()
    again.perform()
    assert client.session.respond(pending) == ()
    assert ninep.unpack(b"".join(client.session.respond(again))).data == b"sl"


def test_flushed_walk_makes_no_fid() -> None:
    client = begun()
    pending = client.session.start(ninep.twalk(7, 0, 1, "text"))
    pending.perform()
    client.must(ninep.tflush(8, 7))
    assert client.session.respond(pending) == ()
    assert client.ask(ninep.tstat(7, 1)).error == "unknown fid"


@pytest.mark.parametrize("oldtag", [3, 8, 1, ninep.NOTAG])
def test_flush_of_what_is_answered_or_never_was_is_answered(oldtag: int) -> None:
    client = begun()
    client.must(ninep.tstat(3, 0))
    client.must(ninep.tflush(8, oldtag))  # 8 is its own tag


def test_several_flushes_of_one_request_are_all_answered() -> None:
    client = begun(Gate("slow", 90))
    client.open(1, "slow")
    client.session.start(ninep.tread(7, 1, 0, 4))
    client.must(ninep.tflush(8, 7))
    client.must(ninep.tflush(9, 7))
    client.must(ninep.tflush(9, 8))


# clunk(5), remove(5), and what is refused


def test_clunk_frees_the_fid() -> None:
    client = begun()
    client.open(1, "text")
    client.must(ninep.tclunk(1, 1))
    for request in (ninep.tclunk(1, 1), ninep.tread(1, 1, 0, 1), ninep.tstat(1, 1), ninep.topen(1, 1)):
        assert client.ask(request).error == "unknown fid"
    client.open(1, "link")


def test_clunk_while_a_read_is_under_way_leaves_it_its_file() -> None:
    gate = Gate("slow", 90)
    client = begun(gate)
    client.open(1, "slow")
    pending = client.session.start(ninep.tread(7, 1, 0, 4))
    client.must(ninep.tclunk(8, 1))
    gate.open.set()
    pending.perform()
    assert ninep.unpack(b"".join(client.session.respond(pending))).data == b"slow"


def test_remove_is_refused_and_frees_the_fid_all_the_same() -> None:
    client = begun()
    client.open(1, "text")
    assert client.ask(ninep.tremove(1, 1)).error == "permission denied"
    assert client.ask(ninep.tstat(1, 1)).error == "unknown fid"
    assert client.ask(ninep.tremove(1, 1)).error == "unknown fid"
    client.open(1, "text")


def test_nothing_is_created_written_or_changed() -> None:
    client = begun()
    assert client.ask(ninep.tcreate(1, 0, "new")).error == "permission denied"
    client.must(ninep.twalk(1, 0, 1, "text"))
    assert client.ask(ninep.tcreate(1, 1, "new")).error == "create in non-directory"
    client.must(ninep.topen(1, 1))
    assert client.ask(ninep.tcreate(1, 1, "new")).error == "9P protocol botch"
    assert client.ask(ninep.twrite(1, 1, b"data")).error == "permission denied"
    body = client.must(ninep.tstat(1, 1)).body
    assert client.ask(ninep.twstat(1, 1, body[2:])).error == "wstat prohibited"
    assert client.ask(ninep.twstat(1, 1, b"nonsense")).error == "wstat prohibited"
    for request in (ninep.tcreate(1, 9, "n"), ninep.twrite(1, 9, b""), ninep.twstat(1, 9, b"")):
        assert client.ask(request).error == "unknown fid"


# Bytes that are no messages


def test_message_whose_fields_do_not_fill_it_ends_the_session() -> None:
    good = [
        ninep.tversion(),
        ninep.tauth(1, 1),
        ninep.tattach(1, 1),
        ninep.tflush(1, 1),
        ninep.twalk(1, 0, 1, "1", "task"),
        ninep.topen(1, 0),
        ninep.tcreate(1, 0, "name"),
        ninep.tread(1, 0, 0, 1),
        ninep.twrite(1, 0, b"data"),
        ninep.tclunk(1, 0),
        ninep.tremove(1, 0),
        ninep.tstat(1, 0),
        ninep.twstat(1, 0, b"stat"),
    ]
    for message in good:
        for bad in (message[:-1] if len(message) > 7 else message, message + b"\0", message[:7]):
            client = begun()
            with pytest.raises(Malformed):
                client.session.start(len(bad).to_bytes(4, "little") + bad[4:])
