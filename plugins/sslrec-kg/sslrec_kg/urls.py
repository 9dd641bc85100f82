"""Folders of public repositories, each at one commit, so that a link goes on meaning the same bytes."""

from __future__ import annotations

_RAW = "https://raw.githubusercontent.com"
FROM_KGAT = f"{_RAW}/xiangwang1223/knowledge_graph_attention_network/c03737be46ac26a0b5431efe149828e982ffbbfb/Data"
FROM_KGIN = f"{_RAW}/huangtinglin/Knowledge_Graph_based_Intent_Network/0e4351716d4999b3f00715f764f0afe18048cf62/data"
FROM_MCCLK = f"{_RAW}/CCIIPLab/MCCLK/4b0d2843b73adbe816a7a5bb1788b4f4bcd777f4/data"
