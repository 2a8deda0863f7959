-- Keys of devices that sign in without a password: Ed25519, public halves.
CREATE TABLE devices (
    key        BLOB    PRIMARY KEY,
    user_idx   INTEGER NOT NULL REFERENCES users (idx) ON DELETE CASCADE,
    name       TEXT    NOT NULL,
    created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX devices_by_user ON devices (user_idx);

-- Sign-ins of a device end with it.
ALTER TABLE token_families ADD COLUMN device BLOB REFERENCES devices (key) ON DELETE CASCADE;

CREATE INDEX token_families_by_device ON token_families (device) WHERE device IS NOT NULL;

-- What a single-use code is good for: one that signs in enrols no device.
ALTER TABLE once_codes ADD COLUMN purpose TEXT NOT NULL DEFAULT 'sign_in'
    CHECK (purpose IN ('sign_in', 'enrol'));

-- With which a native viewer comes back without signing in anew. Their keys are not stored.
CREATE TABLE tickets (
    id         BLOB    PRIMARY KEY,
    family     BLOB    NOT NULL REFERENCES token_families (id) ON DELETE CASCADE,
    expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX tickets_by_family ON tickets (family);
CREATE INDEX tickets_by_expiry ON tickets (expires_at);
