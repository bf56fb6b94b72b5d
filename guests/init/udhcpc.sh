#!/bin/sh
# What busybox's DHCP client calls when it has a lease, or has none any more.
case $1 in
deconfig)
  ip address flush dev "$interface"
  ;;
bound | renew)
  ip address replace "$ip/$mask" broadcast "$broadcast" dev "$interface"
  for gateway in $router; do ip route replace default via "$gateway" dev "$interface"; done
  for server in $dns; do echo "nameserver $server"; done > /etc/resolv.conf
  ;;
esac
