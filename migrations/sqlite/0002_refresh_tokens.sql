-- Refresh tokens are numbered within their sign-in and signed, not stored: the newest number is
-- the only one that is good for a successor.
ALTER TABLE token_families ADD COLUMN generation INTEGER NOT NULL DEFAULT 0;
ALTER TABLE token_families ADD COLUMN refreshed_at INTEGER NOT NULL DEFAULT 0;
