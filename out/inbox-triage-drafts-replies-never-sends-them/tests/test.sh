#!/bin/sh
exec python3 -I "$TESTS_DIR/run_checks.py"
