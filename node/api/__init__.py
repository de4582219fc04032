"""The HTTP API, version 1. One law: bounded, and nobody is let in by default.

One file a resource; `server` puts them together, `operations` is how a route is said, `openapi` tells all of them.
Everything under `/v1` answers JSON (bytes in hex, times in
milliseconds) or the bytes of a payload; what goes wrong is `application/problem+json` (RFC 9457) with a stable `code`.

| route | file |
|---|---|
| `GET /v1/status` | `status` |
| `GET /v1/validators`, `GET /v1/proposals`, `GET /v1/evidence` | `membership` |
| `GET /v1/policies`, `GET /v1/sites`, `GET /v1/tasks/{task}/terms` | `policies` |
| `GET /v1/budgets`, `GET /v1/budgets/{organisation}/{data_set}` | `budgets` |
| `GET /v1/blocks`, `GET /v1/blocks/{height or id}` | `blocks` |
| `GET, POST /v1/transactions`, `GET /v1/transactions/{id}` | `transactions` |
| `GET /v1/headers`, `GET /v1/headers/{height or id}` | `headers` |
| `GET /v1/mempool` | `mempool` |
| `GET /v1/accounts/{public_key}/nonce` | `accounts` |
| `GET /v1/participants` | `participants` |
| `GET /v1/tasks`, `GET /v1/tasks/{task}` | `tasks` |
| `GET /v1/tasks/{task}/rounds`, `.../rounds/{number}` | `rounds` |
| `GET /v1/tasks/{task}/rounds/{number}/updates` | `updates` |
| `GET /v1/tasks/{task}/models`, `.../models/{version}`, `.../payload`, `.../safetensors` | `models`, `model_files` |
| `GET /v1/tasks/{task}/models/{version}/evaluations` | `evaluations` |
| `GET /v1/proofs/state/{key}`, `/v1/proofs/transactions/{id}`, `/v1/proofs/receipts/{id}` | `proofs` |
| `GET /v1/state/{key}` | `state` |
| `GET, PUT /v1/payloads/{size}-{root}`, `GET .../certificate` | `payloads` |
| `GET /v1/events` | `events` |
| `GET, PUT /v1/admin/log-level` | `admin` |
| `GET /openapi.json`, `/docs` | `documentation`, `page` |
| `GET /healthz`, `/readyz`, `/metrics` | `health` |
"""
