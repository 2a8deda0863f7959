-- Accounts, sign-ins and sessions of one node. Times are seconds since 1970.

-- idx fixes the range of host uids that owns the user's home: never changed, never used again.
CREATE TABLE users (
    idx           INTEGER PRIMARY KEY AUTOINCREMENT,
    name          TEXT    NOT NULL UNIQUE,
    role          TEXT    NOT NULL CHECK (role IN ('admin', 'user', 'viewer')),
    password_hash TEXT,
    is_disabled   INTEGER NOT NULL DEFAULT 0 CHECK (is_disabled IN (0, 1)),
    created_at    INTEGER NOT NULL
) STRICT;

-- One sign-in; every access token names the family it belongs to.
CREATE TABLE token_families (
    id         BLOB    PRIMARY KEY,
    user_idx   INTEGER NOT NULL REFERENCES users (idx) ON DELETE CASCADE,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    revoked_at INTEGER
) STRICT, WITHOUT ROWID;

CREATE INDEX token_families_by_user ON token_families (user_idx);
CREATE INDEX token_families_by_expiry ON token_families (expires_at);

-- Single-use sign-in links, by the hash of their code.
CREATE TABLE once_codes (
    hash       BLOB    PRIMARY KEY,
    user_idx   INTEGER NOT NULL REFERENCES users (idx) ON DELETE CASCADE,
    expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE sessions (
    id         TEXT    PRIMARY KEY,
    user_idx   INTEGER NOT NULL REFERENCES users (idx) ON DELETE CASCADE,
    profile    TEXT    NOT NULL,
    width      INTEGER NOT NULL,
    height     INTEGER NOT NULL,
    state      TEXT    NOT NULL,
    reason     TEXT,
    created_at INTEGER NOT NULL,
    ended_at   INTEGER
) STRICT;

CREATE INDEX sessions_by_user ON sessions (user_idx);
CREATE INDEX sessions_that_live ON sessions (state) WHERE ended_at IS NULL;
