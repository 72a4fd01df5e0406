#!/bin/sh
# As the official image, as far as the compose file uses it: the variables ZOO_* become zoo.cfg, then the server.
set -e
mkdir -p /data /conf
echo "$ZOO_MY_ID" > /data/myid
{
	echo "dataDir=/data"
	echo "tickTime=${ZOO_TICK_TIME:-2000}"
	echo "initLimit=5"
	echo "syncLimit=2"
	echo "standaloneEnabled=true"
	echo "admin.enableServer=${ZOO_ADMINSERVER_ENABLED:-true}"
	for server in $ZOO_SERVERS; do echo "$server"; done
} > /conf/zoo.cfg
# jute first: the manifest of zookeeper.jar names another place. Of slf4j's bindings there may be one.
cd /usr/share/java
jars=$(printf '%s:' zookeeper-jute.jar zookeeper.jar metrics-core.jar slf4j-api.jar slf4j-simple.jar snappy-java.jar netty-*.jar)
exec /usr/lib/jvm/java-17-openjdk-amd64/bin/java -Xmx96m -cp "$jars" org.apache.zookeeper.server.quorum.QuorumPeerMain /conf/zoo.cfg
