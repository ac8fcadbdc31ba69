#!/bin/sh
echo "{\"web\": {\"hosts\": [\"w1\", \"w2\"], \"vars\": {\"rack\": 7}}, \"_meta\": {\"hostvars\": {\"w1\": {\"ansible_host\": \"192.0.2.1\"}}}}"
