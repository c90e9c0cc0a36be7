"""The privacy and security requirements, row by row, and the tests that hold each one.

A row's `name` is what `@pytest.mark.privacy_row(name)` names on a test; `tests` names every test that holds the row.
docs/compliance.md shows the rows as `as_table` writes them; tests/unit/test_compliance.py compares. To give a row
another test: mark the test, add its name here, and put what `python -m tests.privacy_rows` prints into the document.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class PrivacyRow:
    """One requirement; `open` says what of it no test holds yet, and is empty where all of it is held."""

    name: str
    requirement: str
    tests: tuple[str, ...]
    open: str = ""


SECTIONS: dict[str, tuple[PrivacyRow, ...]] = {
    "Templates": (
        PrivacyRow(
            "sealed_record",
            "A template is sealed with AES-256-GCM; tenant, subject, model, epoch and schema are bound to it",
            ("test_swapped_fields_never_open", "test_changed_rows_do_not_open", "test_invalid_vectors"),
        ),
        PrivacyRow(
            "travellers_share",
            "Claimed mode: database and all server keys without the traveller's share open no template",
            (
                "test_invariant_4_stolen_database_and_keys_open_nothing_of_a_token_holder",
                "test_without_the_share_nothing_opens",
                "test_database_and_all_server_keys_without_the_share_0_templates_open",
            ),
        ),
        PrivacyRow(
            "unlinkable_templates",
            "Re-enrollment gives an unlinkable template",
            (
                "test_two_seals_of_one_face_share_nothing",
                "test_rotation_is_orthogonal_and_new_each_time",
                "test_every_protection_is_measured_and_plain_templates_are_linkable",
            ),
        ),
        PrivacyRow(
            "rotation_is_no_secret",
            "The gallery's rotation is renewability, not secrecy, and the threat model says so",
            (
                "test_a_rotation_is_found_from_as_many_known_pairs_as_it_has_dimensions",
                "test_the_threat_model_calls_the_rotation_no_secret",
                "test_a_perfect_decoder_opens_plain_templates_and_no_sealed_ones",
            ),
        ),
        PrivacyRow(
            "no_embedding_no_score",
            "Nobody can submit an embedding, and no score is returned",
            ("test_invariant_8_no_score_leaves_the_system",),
        ),
    ),
    "Erasure": (
        PrivacyRow(
            "expiry_fails_closed",
            "Expiry is departure + 24 h, else enrollment + 24 h, to the second and without the purger",
            (
                "test_expiry_at_the_second",
                "test_invariant_2_a_template_never_outlives_its_purpose",
                "test_invariant_2_expiry_is_a_database_constraint",
            ),
        ),
        PrivacyRow(
            "erased_everywhere",
            "Erasure: gallery zeroed, row deleted, free pages scrubbed, logged, receipt; no trace of a canary",
            (
                "test_withdrawing_erases_in_order",
                "test_invariant_3_nothing_of_a_withdrawn_template_stays_in_the_files",
                "test_nothing_is_found_after_an_erasure",
                "test_memory_holds_nothing_after_a_check_and_after_an_erasure",
                "test_bulk_expiry_in_bounded_memory_without_stalling_gates",
                "test_what_postgresql_keeps_of_a_withdrawn_row_opens_for_nobody_after_the_epoch",
            ),
        ),
        PrivacyRow(
            "epoch_keys_destroyed",
            "Epoch keys are outside the database and its backups, and destroyed at the end of the epoch",
            (
                "test_invariant_3_deleting_destroys_a_key",
                "test_yesterdays_backup_does_not_open_after_the_epoch",
                "test_restore_yesterdays_backup_after_expiry_0_of_n_open",
                "test_the_keys_of_an_epoch_go_at_its_end_and_not_before",
                "test_what_postgresql_keeps_of_a_withdrawn_row_opens_for_nobody_after_the_epoch",
            ),
        ),
        PrivacyRow(
            "deletion_receipt",
            "A deletion receipt is signed and verifies offline; any flipped bit fails",
            (
                "test_a_deletion_receipt_proves_the_deletion",
                "test_any_flipped_bit_fails",
                "test_a_receipt_is_verified_alone_by_all_keys",
                "test_each_bundle_is_what_its_name_says",
            ),
        ),
        PrivacyRow(
            "erasure_is_atomic",
            "Erasure is atomic against a racing gate check",
            (
                "test_invariant_7_an_admission_never_follows_a_receipt",
                "test_no_admission_follows_a_receipt_in_many_races",
                "test_killed_at_random_moments_nothing_is_half_done",
            ),
        ),
    ),
    "Audit log": (
        PrivacyRow(
            "log_cannot_be_rewritten",
            "RFC 6962 tree, signed C2SP checkpoints, witnesses: edit, delete, reorder, truncate and fork are found",
            (
                "test_each_bundle_is_what_its_name_says",
                "test_a_tampered_file_fails",
                "test_a_fork_shows_against_an_old_checkpoint",
                "test_witnesses_cosign_and_the_verifier_takes_their_word",
                "test_what_is_no_witness_of_our_log_is_refused",
            ),
        ),
        PrivacyRow(
            "log_names_nobody",
            "A leaf holds listed fields only, the subject as a keyed hash; without the key a dictionary links nothing",
            (
                "test_a_leaf_is_canonical_and_on_the_allow_list",
                "test_there_is_no_room_for_a_name",
                "test_a_dictionary_of_all_subjects_links_nothing_after_the_keys_end",
                "test_nothing_links_a_subject_once_the_key_is_gone",
            ),
        ),
        PrivacyRow(
            "log_verified_offline",
            "One file verifies offline: signatures, consistency, pairing, age, no decision after expiry, purge gaps",
            (
                "test_the_network_is_really_off",
                "test_each_bundle_is_what_its_name_says",
                "test_the_file_stands_alone",
                "test_a_copy_of_the_file_verifies_in_isolation",
                "test_a_signed_misdeed_is_caught",
            ),
        ),
        PrivacyRow(
            "log_golden_vectors",
            "Golden vectors of the RFC 6962 tree: root, inclusion and consistency agree",
            (
                "test_roots_of_the_reference_tree",
                "test_inclusion_proofs_of_the_reference_tree",
                "test_consistency_proofs_of_the_reference_tree",
            ),
        ),
    ),
    "PAD and verification figures": (
        PrivacyRow(
            "pad_by_worst_species",
            "APCER for each species and the worst, BPCER, BPCER20; never only ACER",
            ("test_pad_is_rated_by_its_worst_species",),
        ),
        PrivacyRow(
            "rates_with_intervals",
            "TAR at FAR with intervals bootstrapped by subject; no claim beyond what the sample supports",
            ("test_bootstrap_of_a_mean_agrees_with_its_standard_error",),
        ),
        PrivacyRow(
            "active_challenge",
            "The challenge is random, nonce-bound, single-use and short; five failures lock for minutes",
            (
                "test_attacks_are_refused_and_honest_people_accepted",
                "test_whatever_happens_only_what_was_asked_for_succeeds",
                "test_failures_lock_the_gate_for_minutes",
            ),
        ),
    ),
    "Attacks": (
        PrivacyRow(
            "pixel_bomb",
            "A pixel bomb is refused by its header, before decoding",
            ("test_a_pixel_bomb_costs_no_memory", "test_a_pixel_bomb_is_refused_by_its_header"),
        ),
        PrivacyRow(
            "odd_files",
            "Formats by magic bytes; only the pixel array lives on",
            ("test_invariant_1_metadata_of_an_image_goes_nowhere", "test_a_bad_image_is_a_clear_error"),
        ),
        PrivacyRow(
            "gate_replay",
            "A repeated check is refused; of two at once exactly one succeeds",
            ("test_two_equal_checks_at_once_succeed_exactly_once",),
        ),
        PrivacyRow(
            "hill_climbing",
            "Decisions only, limits, and a lock-out after five failures, also from many places",
            ("test_lock_out_after_five_failures_also_from_many_gates",),
        ),
        PrivacyRow(
            "enumeration",
            "Unknown and forbidden have the same answer, in the same time (Welch's t-test)",
            (
                "test_unknown_and_foreign_look_the_same",
                "test_unknown_not_yours_expired_and_forged_are_never_told_apart",
                "test_known_and_unknown_take_the_same_time",
                "test_a_known_key_takes_as_long_as_an_unknown_one",
            ),
        ),
        PrivacyRow(
            "gallery_poisoning",
            "One face under two identities is flagged",
            ("test_a_suspected_duplicate_is_for_an_officer",),
        ),
        PrivacyRow(
            "morphing",
            "Comparison with the document photograph; the match rate of morphs is reported",
            ("test_the_match_rate_of_morphs_is_measured_at_the_gates_threshold",),
        ),
        PrivacyRow(
            "log_leakage",
            "Nothing personal reaches a log line or an error's body",
            ("test_logs_hold_no_identifier_or_secret", "test_nothing_in_the_log_but_routes_and_numbers"),
        ),
        PrivacyRow(
            "memory_dump",
            "Buffers are zeroed, freed memory is overwritten, core dumps are off; a scan of the process finds nothing",
            (
                "test_no_crash_writes_memory_to_disk",
                "test_memory_holds_nothing_after_a_check_and_after_an_erasure",
                "test_memory_holds_no_key_after_its_end_and_no_share_of_its_travellers",
                "test_what_the_service_frees_is_overwritten",
                "test_freed_blocks_are_overwritten_and_those_in_use_are_not",
            ),
        ),
        PrivacyRow(
            "no_outbound_connection",
            "No URL is taken and no connection is opened",
            ("test_invariant_9_nothing_leaves_the_site",),
        ),
    ),
}


def all_rows() -> tuple[PrivacyRow, ...]:
    """Return the rows of all sections."""
    return tuple(row for rows in SECTIONS.values() for row in rows)


def as_table() -> str:
    """Return the section of docs/compliance.md."""
    lines = ["## Privacy and security requirements", ""]
    for section, rows in SECTIONS.items():
        lines += [f"### {section}", "| row | requirement | test | not held yet |", "|---|---|---|---|"]
        for row in rows:
            tests = ", ".join(f"`{test}`" for test in row.tests)
            lines.append(f"| `{row.name}` | {row.requirement} | {tests} | {row.open} |")
        lines.append("")
    return "\n".join(lines)


if __name__ == "__main__":
    print(as_table())
