"""Running notes: how a process that preheat runs is stopped."""

from preheat.verbs.upkeep.running_notes import stop_command

SYSTEM = "0::/system.slice/web ui.service/app-1\n"
USER = "0::/user.slice/user-1000.slice/user@1000.service/app.slice/web.service\n"
TERMINAL = "0::/user.slice/user-1000.slice/user@1000.service/app.slice/app-terminal.scope\n"


def test_a_service_is_stopped_by_systemd_and_any_other_process_by_kill() -> None:
    started = (b"HOME=/root", b"SYSTEMD_EXEC_PID=7")
    assert stop_command(7, started, SYSTEM) == "systemctl stop 'web ui'"
    assert stop_command(7, started, USER) == "systemctl --user stop web"
    # Typed in a shell that is itself a service's, such as an editor's: its PID is another one.
    assert stop_command(8, started, USER) == "kill 8"
    assert stop_command(7, (), TERMINAL) == stop_command(7, (), "") == "kill 7"
