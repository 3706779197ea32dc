"""What every store has to do, for the tests of any: ours, and one of your own.

A store's author writes a function that makes it, and asks for every rule by name::

    @pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
    def test_my_store(rule, tmp_path):
        run_rule(rule, lambda wall: MyStore(tmp_path / "streams", wall=wall))

    @pytest.mark.parametrize("seed", range(50))
    def test_my_store_in_any_order(seed, tmp_path):
        run_schedule(lambda wall: MyStore(tmp_path / "streams", wall=wall), seed)

The function is called again within a rule, for the process that comes after the one that closed the store: what it
returns then has the same data. Nothing here needs pytest.

The rules stand by subject: ``reading``, ``fences``, ``deadlines``, ``processes``; ``bench`` is what they are played on.
"""

from __future__ import annotations

from typing import Final

from tokenwire.testing.store_contract.bench import ME, Bench, Make, Rule, piece, run_rule, run_schedule
from tokenwire.testing.store_contract.deadlines import (
    a_forgotten_id_is_not_begun_again,
    a_sweep_forgets_in_portions_what_has_expired,
    notes_are_recalled_until_they_expire,
    the_last_deadline_told_counts,
    what_is_forgotten_is_gone,
    what_is_past_its_deadline_is_not_shown,
)
from tokenwire.testing.store_contract.fences import (
    a_gap_is_a_conflict,
    a_piece_that_is_known_in_part_is_a_conflict,
    a_repeat_is_accepted_and_changes_nothing,
    a_restart_forgets_what_was_before,
    a_restart_may_be_the_beginning,
    a_restart_may_go_back,
    a_restart_says_where,
    a_stream_begins_with_a_head_and_entry_1,
    a_write_is_all_or_nothing,
    an_ended_stream_may_be_added_to,
    an_owner_never_changes,
)
from tokenwire.testing.store_contract.processes import (
    a_write_that_was_cancelled_is_done_or_not,
    everything_is_there_after_a_restart,
    open_and_close_may_be_repeated,
    reads_beside_writes_see_whole_prefixes,
    what_was_running_is_orphaned_until_it_is_written_to,
)
from tokenwire.testing.store_contract.reading import (
    a_head_that_is_not_told_stays,
    a_page_ends_when_its_limit_is_reached,
    a_stream_may_be_in_one_write_twice,
    a_stream_may_begin_without_entries,
    an_owners_streams_are_listed_the_newest_last,
    any_bytes_are_kept,
    figures_count_what_is_kept,
    many_streams_are_one_write,
    pages_begin_with_the_piece_that_holds_the_entry,
    what_is_unknown_is_nothing,
    what_was_written_is_read,
)

__all__ = [
    "ME",
    "RULES",
    "Bench",
    "Make",
    "Rule",
    "a_forgotten_id_is_not_begun_again",
    "a_gap_is_a_conflict",
    "a_head_that_is_not_told_stays",
    "a_page_ends_when_its_limit_is_reached",
    "a_piece_that_is_known_in_part_is_a_conflict",
    "a_repeat_is_accepted_and_changes_nothing",
    "a_restart_forgets_what_was_before",
    "a_restart_may_be_the_beginning",
    "a_restart_may_go_back",
    "a_restart_says_where",
    "a_stream_begins_with_a_head_and_entry_1",
    "a_stream_may_be_in_one_write_twice",
    "a_stream_may_begin_without_entries",
    "a_sweep_forgets_in_portions_what_has_expired",
    "a_write_is_all_or_nothing",
    "a_write_that_was_cancelled_is_done_or_not",
    "an_ended_stream_may_be_added_to",
    "an_owner_never_changes",
    "an_owners_streams_are_listed_the_newest_last",
    "any_bytes_are_kept",
    "everything_is_there_after_a_restart",
    "figures_count_what_is_kept",
    "many_streams_are_one_write",
    "notes_are_recalled_until_they_expire",
    "open_and_close_may_be_repeated",
    "pages_begin_with_the_piece_that_holds_the_entry",
    "piece",
    "reads_beside_writes_see_whole_prefixes",
    "run_rule",
    "run_schedule",
    "the_last_deadline_told_counts",
    "what_is_forgotten_is_gone",
    "what_is_past_its_deadline_is_not_shown",
    "what_is_unknown_is_nothing",
    "what_was_running_is_orphaned_until_it_is_written_to",
    "what_was_written_is_read",
]

#: Every rule, in the order of ``tokenwire.engine.stores.port``.
RULES: Final[tuple[Rule, ...]] = (
    what_was_written_is_read,
    a_head_that_is_not_told_stays,
    a_stream_may_begin_without_entries,
    any_bytes_are_kept,
    what_is_unknown_is_nothing,
    many_streams_are_one_write,
    a_stream_may_be_in_one_write_twice,
    pages_begin_with_the_piece_that_holds_the_entry,
    a_page_ends_when_its_limit_is_reached,
    a_gap_is_a_conflict,
    a_piece_that_is_known_in_part_is_a_conflict,
    a_stream_begins_with_a_head_and_entry_1,
    a_repeat_is_accepted_and_changes_nothing,
    a_write_is_all_or_nothing,
    an_owner_never_changes,
    an_ended_stream_may_be_added_to,
    a_restart_forgets_what_was_before,
    a_restart_may_go_back,
    a_restart_may_be_the_beginning,
    a_restart_says_where,
    an_owners_streams_are_listed_the_newest_last,
    figures_count_what_is_kept,
    notes_are_recalled_until_they_expire,
    what_is_past_its_deadline_is_not_shown,
    the_last_deadline_told_counts,
    a_sweep_forgets_in_portions_what_has_expired,
    what_is_forgotten_is_gone,
    a_forgotten_id_is_not_begun_again,
    everything_is_there_after_a_restart,
    what_was_running_is_orphaned_until_it_is_written_to,
    open_and_close_may_be_repeated,
    reads_beside_writes_see_whole_prefixes,
    a_write_that_was_cancelled_is_done_or_not,
)
