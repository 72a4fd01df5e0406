#!/bin/sh
# `zkServer.sh status`: 0 if the node is in the quorum, which it tells on its client port.
echo srvr | nc 127.0.0.1 2181 | grep Mode
