"""What of the farm is the caller's. Everything else is not there for him."""

from __future__ import annotations

from echo_api.callers import caller
from echo_api.farm import farm
from echo_api.problems import RequestProblem
from echo_tasks.errors import JobNotFound
from echo_tasks.messages import Job, JobRequest


def job(job_id: str) -> Job:
    """A job of his. Raises JobNotFound."""
    found = farm().ledger.read(job_id)
    if not caller().sees(found.owner):
        raise JobNotFound(job_id)
    return found


def request(asked: JobRequest) -> JobRequest:
    """What he asks for, with the farm's name of its session. Raises RequestProblem."""
    return asked if asked.session_id is None else asked.model_copy(update={"session_id": session(asked.session_id)})


def session(name: str) -> str:
    """The farm's name of a session of his, be it there or not. Raises RequestProblem for a name that is too long."""
    if len(name) > caller().longest_name:
        told = f"with this key a session's name has {caller().longest_name} characters at most"
        raise RequestProblem(422, told, field="session_id")
    return caller().inner(name)
