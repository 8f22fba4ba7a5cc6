"""Pulls: the events that describe a pull before its first byte."""
