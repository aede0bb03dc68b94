#!/bin/sh
# A stand-in for malware: keeps one connection to its master ($1) open and calls home ten times a second.
while :; do
  n=0
  while :; do
    n=$((n + 1))
    echo "beacon $n from $(hostname)"
    usleep 100000
  done | nc "$1" 4444
  sleep 1
done
