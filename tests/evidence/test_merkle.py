"""The tree against a brute-force one, proofs against every leaf, and thousands of tamperings against the verdict."""

from __future__ import annotations

import base64
import json
import random
from collections.abc import Sequence
from hashlib import sha256
from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.evidence.keys import Key
from agent.evidence.merkle import Frontier, chain_hash, genesis, leaf_hash, node_hash, verify
from agent.evidence.note import BadNote, Checkpoint, PublicKey, open_note
from agent.evidence.proof import Proof, consistency, inclusion, only_grew, root_by_inclusion

KEY = Key("host1/containment-agent", bytes(range(32)))
OTHER = Key("host1/containment-agent", bytes(32))


def brute_root(hashes: Sequence[bytes]) -> bytes:
    """RFC 6962 §2.1, word for word."""
    if not hashes:
        return sha256(b"").digest()
    if len(hashes) == 1:
        return hashes[0]
    split = 1
    while split * 2 < len(hashes):
        split *= 2
    return node_hash(brute_root(hashes[:split]), brute_root(hashes[split:]))


def hashes_of(size: int) -> list[bytes]:
    return [leaf_hash(b"%d" % n) for n in range(size)]


def leaf(seq: int, kind: str = "finding", mitigation: str = "", **body: object) -> bytes:
    plain = {"v": 1, "seq": seq, "ts": 1, "kind": kind, "incident": "INC-1", "mitigation": mitigation, "body": body}
    return json.dumps(plain, separators=(",", ":")).encode()


def log_of(size: int) -> list[bytes]:
    return [leaf(seq, say=f"what happened {seq}") for seq in range(size)]


def note_for(leaves: Sequence[bytes], key: Key = KEY) -> str:
    tree = Frontier().grow(map(leaf_hash, leaves))
    return Checkpoint(key.public.name, tree.size, tree.root()).signed(key.public, key.sign)


def chain_of(leaves: Sequence[bytes]) -> list[bytes]:
    return list(accumulate(map(leaf_hash, leaves), chain_hash, initial=genesis(KEY.public.name)))[1:]


# Tree and proofs ------------------------------------------------------------------------------------------------------


def test_the_root_is_the_one_rfc_6962_gives_for_its_known_leaves() -> None:
    # The test vectors of certificate-transparency's merkle_tree_test.
    leaves = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"]

    root = Frontier().grow(leaf_hash(bytes.fromhex(one)) for one in leaves).root()

    assert root.hex() == "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"


@given(st.lists(st.integers(0, 40), max_size=6))
def test_however_a_tree_grows_its_root_is_the_brute_force_one(steps: list[int]) -> None:
    hashes = hashes_of(sum(steps))

    frontier, done = Frontier(), 0
    for step in steps:
        frontier, done = frontier.grow(hashes[done : done + step]), done + step

    assert (frontier.size, frontier.root()) == (len(hashes), brute_root(hashes))


def test_every_inclusion_proof_leads_to_the_root_and_no_other_leaf_place_or_size_does() -> None:
    for size in range(1, 34):
        hashes = hashes_of(size)
        root = brute_root(hashes)
        for index in range(size):
            path = inclusion(hashes, index)

            assert root_by_inclusion(hashes[index], index, size, path) == root
            assert root_by_inclusion(leaf_hash(b"forged"), index, size, path) != root
            assert root_by_inclusion(hashes[index], index, size, [*path, root]) != root
            assert not path or root_by_inclusion(hashes[index], index, size, path[1:]) != root
            assert size == 1 or root_by_inclusion(hashes[index], (index + 1) % size, size, path) != root
            assert root_by_inclusion(hashes[index], index, 2 * size, path) is None
    assert root_by_inclusion(hashes[0], 5, 5, []) is None


def test_every_consistency_proof_holds_and_a_rewritten_past_has_none() -> None:
    for size in range(1, 34):
        hashes = hashes_of(size)
        new = Checkpoint("o", size, brute_root(hashes))
        for old_size in range(size + 1):
            path = consistency(hashes, old_size)
            old = Checkpoint("o", old_size, brute_root(hashes[:old_size]))
            forged = Checkpoint("o", old_size, leaf_hash(b"forged"))

            assert only_grew(old, new, path) == ""
            assert only_grew(forged, new, path) or old_size == 0
            assert only_grew(old, Checkpoint("o", 2 * size, new.root), path) or old_size == 0
            assert not path or only_grew(old, new, path[:-1])


def test_a_log_that_shrank_did_not_only_grow() -> None:
    hashes = hashes_of(5)

    why = only_grew(Checkpoint("o", 5, brute_root(hashes)), Checkpoint("o", 3, brute_root(hashes[:3])), [])

    assert why == "the log shrank from 5 to 3 records"


def test_a_proof_file_holds_for_its_record_and_for_no_other() -> None:
    leaves = log_of(21)
    proof = Proof(13, tuple(inclusion([leaf_hash(one) for one in leaves], 13)), note_for(leaves))

    read = Proof.read(str(proof))

    assert read == proof
    assert read.check(leaves[13], KEY.vkey).size == 21
    with pytest.raises(BadNote, match="not record 13"):
        read.check(leaves[12], KEY.vkey)
    with pytest.raises(BadNote, match="not signed by"):
        read.check(leaves[13], OTHER.vkey)


@pytest.mark.parametrize(
    "text", ["", "c2sp.org/tlog-proof@v1\n", "c2sp.org/tlog-proof@v1\nindex x\n\nnote", "c2sp.org/tlog-proof@v1\nindex 1\n!\n\nn"]
)
def test_what_is_no_proof_is_refused(text: str) -> None:
    with pytest.raises(BadNote, match="this is no proof"):
        Proof.read(text)


# Notes and keys -------------------------------------------------------------------------------------------------------


def test_a_vkey_reads_back_and_a_changed_one_is_refused() -> None:
    assert PublicKey.read(KEY.vkey) == KEY.public
    for place in range(len(KEY.vkey)):
        changed = KEY.vkey[:place] + ("A" if KEY.vkey[place] != "A" else "B") + KEY.vkey[place + 1 :]

        with pytest.raises(BadNote):
            PublicKey.read(changed)


def test_the_go_checksum_database_is_read_with_its_published_key() -> None:
    # golang.org/x/mod/sumdb/note's own example: an implementation that is not ours made key and signature.
    vkey = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
    text = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
    signature = base64.b64decode("x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=")
    key = PublicKey.read(vkey)

    key.check(signature[4:], text.encode())

    assert key.key_id == signature[:4]


def test_a_note_changed_in_any_byte_does_not_open() -> None:
    note = note_for(log_of(7)).encode()
    for place in range(len(note) - 1):  # the last newline is not part of what is signed, nor of the signature
        changed = note[:place] + bytes([note[place] ^ 1]) + note[place + 1 :]

        with pytest.raises(BadNote):
            open_note(changed.decode(errors="replace"), KEY.public)


def test_a_note_with_text_that_is_no_utf8_does_not_open() -> None:
    with pytest.raises(BadNote):
        open_note("\udcff" + note_for(log_of(1)), KEY.public)


def test_a_witness_may_sign_beside_us() -> None:
    note = note_for(log_of(3)) + "— witness.example/w1 jWbPPwAAAABkGFDLEZMH\n"

    assert open_note(note, KEY.public).size == 3


def test_a_signature_of_another_text_or_another_log_is_no_checkpoint() -> None:
    prose = Checkpoint("we\nare", 1, b"").signed(KEY.public, KEY.sign)
    foreign = Checkpoint("other/log", 1, bytes(32)).signed(KEY.public, KEY.sign)

    with pytest.raises(BadNote, match="no checkpoint"):
        open_note(prose, KEY.public)
    with pytest.raises(BadNote, match="another log, other/log"):
        open_note(foreign, KEY.public)


# Tampering ------------------------------------------------------------------------------------------------------------


def test_an_untouched_log_holds() -> None:
    leaves = log_of(120)

    verdict = verify(leaves, [note_for(leaves[:50]), note_for(leaves[:100])], KEY.vkey, chain=chain_of(leaves))

    assert (verdict.problems, verdict.records, verdict.covered, verdict.uncovered_tail) == ((), 120, 100, 20)


def test_an_edit_in_any_byte_of_any_record_is_found_by_the_checkpoint_alone() -> None:
    leaves = log_of(12)
    notes = [note_for(leaves)]
    for seq, whole in enumerate(leaves):
        for place in range(len(whole)):
            changed = whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :]

            verdict = verify([*leaves[:seq], changed, *leaves[seq + 1 :]], notes, KEY.vkey)

            assert verdict.problems
            assert verdict.covered == 0


@given(st.randoms(use_true_random=False))
def test_swaps_deletions_insertions_and_cuts_are_found(chance: random.Random) -> None:
    leaves = log_of(40)
    notes = [note_for(leaves[:20]), note_for(leaves)]
    changed = list(leaves)
    one, other = chance.sample(range(40), 2)
    how = chance.choice(["swap", "delete", "repeat", "cut", "replace"])
    if how == "swap":
        changed[one], changed[other] = changed[other], changed[one]
    elif how == "delete":
        del changed[one]
    elif how == "repeat":
        changed.insert(one, changed[other])
    elif how == "cut":
        del changed[one:]
    else:
        changed[one] = changed[other]

    verdict = verify(changed, notes, KEY.vkey)

    assert verdict.problems
    assert verdict.covered <= 20


def test_one_edit_is_one_problem_with_its_place() -> None:
    leaves = log_of(30)
    chain, notes = chain_of(leaves), [note_for(leaves[:10]), note_for(leaves[:20]), note_for(leaves)]
    leaves[14] = leaf(14, say="nothing happened")

    verdict = verify(leaves, notes, KEY.vkey, chain=chain)

    assert verdict.problems == (
        "record 14: the hash chain breaks here: this record, or its place, was changed",
        "one of the records 10 to 19 is not what was signed: the tree's root is not that of the checkpoint for 20",
    )
    assert verdict.covered == 10


def test_a_record_that_is_missing_shows_in_the_numbers_alone_and_once() -> None:
    leaves = log_of(30)
    del leaves[14]

    verdict = verify(leaves, [], KEY.vkey)

    assert verdict.problems == ("record 14: it says it is number 15: records are missing, added or out of order here",)


def test_a_rewritten_log_with_a_new_chain_and_the_same_stolen_key_shows_in_one_old_note() -> None:
    leaves = log_of(30)
    kept_outside = note_for(leaves[:25])
    leaves[14] = leaf(14, say="nothing happened")

    alone = verify(leaves, [note_for(leaves)], KEY.vkey, chain=chain_of(leaves))
    with_copy = verify(leaves, [note_for(leaves), note_for(leaves[:25]), kept_outside], KEY.vkey, chain=chain_of(leaves))

    assert alone.problems == ()  # nothing on the host can tell: hence the copies elsewhere
    assert with_copy.problems == ("split view at record 25: two different logs were signed for the first 25 records",)


def test_a_tail_cut_together_with_its_checkpoints_shows_in_a_copy() -> None:
    leaves = log_of(30)

    verdict = verify(leaves[:20], [note_for(leaves[:20]), note_for(leaves)], KEY.vkey)

    assert verdict.problems == ("cut at record 20: a checkpoint was signed for 30 records, and only 20 are here",)


def test_a_checkpoint_of_another_key_counts_for_nothing() -> None:
    leaves = log_of(5)

    verdict = verify(leaves, [note_for(leaves, OTHER)], KEY.vkey)

    assert len(verdict.problems) == 1
    assert "checkpoint 0: not signed by host1/containment-agent" in verdict.problems[0]
    assert verdict.uncovered_tail == 5


def test_an_empty_log_holds_and_a_checkpoint_for_it_counts() -> None:
    assert verify([], [], KEY.vkey).problems == ()
    assert verify([], [note_for([])], KEY.vkey).checkpoints == 1


def test_many_problems_are_counted_and_not_all_told() -> None:
    leaves = [b"{}"] * 500

    verdict = verify(leaves, [], KEY.vkey)

    assert len(verdict.problems) == 51
    assert verdict.problems[-1] == "and 450 more like these"


def test_an_intent_without_an_outcome_is_told() -> None:
    kinds = [("intent", "M-1"), ("intent", "M-2"), ("in_force", "M-1"), ("intent", "M-3"), ("noted", "M-3"), ("recovered", "M-2")]
    leaves = [leaf(seq, kind, mitigation) for seq, (kind, mitigation) in enumerate(kinds)]

    verdict = verify(leaves, [], KEY.vkey)

    assert verdict.open_intents == ("record 3: the intent for M-3 was never closed",)


@pytest.mark.parametrize("text", [b"", b"[]", b'{"seq":[]}', b'{"seq":0,"kind":{},"mitigation":[]}', b"[" * 100_000, b"\xff"])
def test_no_content_makes_the_check_itself_fail(text: bytes) -> None:
    verdict = verify([text, leaf(1)], [note_for(log_of(2))], KEY.vkey)

    assert verdict.problems
