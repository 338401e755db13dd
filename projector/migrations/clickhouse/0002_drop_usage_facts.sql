-- The table of earlier builds, which knew no corrections and counted list prices. The log has all that it held.
DROP TABLE IF EXISTS usage_facts
